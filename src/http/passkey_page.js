// Asks the browser for the passkey that stands in the fragment of the address, and brings the answer to the program that
// asked, on this machine. The fragment is sent to no server.
"use strict";

const element = (id) => document.getElementById(id);
const say = (text) => (element("say").textContent = text);

const toText = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const toBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const known = (ids) => ids.map((id) => ({ type: "public-key", id: toBytes(id) }));

async function make(asked) {
  const { response } = await navigator.credentials.create({
    publicKey: {
      challenge: toBytes(asked.challenge),
      rp: { id: asked.relying_party, name: "Lockstep" },
      user: { id: toBytes(asked.user), name: asked.name, displayName: asked.name },
      pubKeyCredParams: asked.algorithms.map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: known(asked.passkeys),
      authenticatorSelection: { residentKey: "discouraged", userVerification: "discouraged" },
      attestation: "none",
    },
  });
  return { client_data: toText(response.clientDataJSON), attestation: toText(response.attestationObject) };
}

async function show(asked) {
  const { rawId, response } = await navigator.credentials.get({
    publicKey: {
      challenge: toBytes(asked.challenge),
      rpId: asked.relying_party,
      allowCredentials: known(asked.passkeys),
      userVerification: "discouraged",
    },
  });
  return {
    credential: toText(rawId),
    client_data: toText(response.clientDataJSON),
    authenticator_data: toText(response.authenticatorData),
    signature: toText(response.signature),
  };
}

function bring(asked, answer) {
  const text = encodeURIComponent(JSON.stringify(answer));
  location.replace(`http://127.0.0.1:${asked.port}/passkey?state=${asked.state}&answer=${text}`);
}

function begin() {
  const asked = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  if (!Number.isInteger(asked.port) || asked.port < 1024 || asked.port > 65535 || !/^[\w-]{43}$/.test(asked.state)) {
    throw new TypeError("no program asks");
  }
  history.replaceState(null, "", location.pathname);
  const isNew = asked.user !== undefined;
  say(isNew ? `A new passkey for ${asked.name}.` : "The program on this machine asks for your passkey.");
  const button = element("go");
  button.textContent = isNew ? "Make a passkey" : "Use the passkey";
  button.hidden = false;
  button.onclick = async () => {
    button.disabled = true;
    try {
      bring(asked, await (isNew ? make(asked) : show(asked)));
    } catch (error) {
      // The person said no, or took too long: there may be another try. Anything else does not go away by itself.
      if (error.name !== "NotAllowedError") return bring(asked, { error: error.name });
      button.disabled = false;
      say("That did not work. Try it again, or close this page and end the program that asks.");
    }
  };
}

try {
  begin();
} catch {
  say("No program asks for a passkey here. This page is opened by the command lockstep.");
}
