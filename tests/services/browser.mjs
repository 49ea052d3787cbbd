#!/usr/bin/env node
// A person with a browser, for the tests: opens the address, signs in as "ada", agrees to everything, and follows every
// redirect to its end. With STOP_AT set, it stops before it asks for an address that begins so, and prints the address.

const cookies = new Map();
let [, , address] = process.argv;
let form;

for (let step = 0; step < 20; step += 1) {
  if (process.env.STOP_AT && address.startsWith(process.env.STOP_AT)) {
    console.log(JSON.stringify({ status: 0, address, page: "" }));
    break;
  }
  const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
  const method = form ? "POST" : "GET";
  const answer = await fetch(address, { method, headers, redirect: "manual", body: form });
  for (const cookie of answer.headers.getSetCookie()) {
    const [name, value] = cookie.split(";")[0].split("=");
    cookies.set(name, value);
  }
  const place = answer.headers.get("location");
  if (place) {
    address = new URL(place, address).href;
    form = undefined;
    continue;
  }
  const page = await answer.text();
  const prompt = page.match(/name="prompt" value="(\w+)"/);
  const action = page.match(/<form[^>]* action="([^"]+)"/);
  if (!prompt) {
    console.log(JSON.stringify({ status: answer.status, address, page }));
    break;
  }
  address = new URL(action[1], address).href;
  form = new URLSearchParams({ prompt: prompt[1], login: "ada", password: "lovelace" });
}
