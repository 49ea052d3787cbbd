// A certified OpenID provider for the tests, with its own pages for people to sign in at.
//
// oidc_provider.mjs MODULES REDIRECT: prints its port when it listens. It knows two clients: "native", a program on a
// person's machine without a secret, and "web", a server with a secret whose one redirect URI is REDIRECT.

import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, redirect] = process.argv.slice(2);
const entry = path.join(modules, "node_modules/oidc-provider/lib/index.js");
const { default: Provider } = await import(pathToFileURL(entry));

const server = http.createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const { port } = server.address();

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "native",
      application_type: "native",
      token_endpoint_auth_method: "none",
      redirect_uris: ["http://127.0.0.1/callback"],
    },
    {
      client_id: "web",
      client_secret: "a secret of the web client",
      redirect_uris: [redirect],
    },
  ],
  cookies: { keys: ["only for tests"] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
server.on("request", provider.callback());
console.log(port);
