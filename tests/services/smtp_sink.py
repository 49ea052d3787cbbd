"""The SMTP server of the tests: keeps every letter as a file and does what the receiver's name asks for.

smtp_sink.py FOLDER PORT MODE [CERTIFICATE KEY], where MODE is plain, starttls or tls, and port 0 a free one. Prints
its port when it listens.
Receivers: busy-N@… is put off N times (451), gone@… is refused (550). Both answers repeat the address, as those of
real servers do.
With starttls and tls the name "ada" with the password "lovelace" is demanded.
"""

import asyncio
import pathlib
import ssl
import sys
import time
import uuid

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keep:
    def __init__(self, folder):
        self.folder = folder
        self.put_off = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name == "gone":
            return f"550 5.1.1 <{address}> no such person"
        if name.startswith("busy-"):
            seen = self.put_off.get(address, 0)
            if seen < int(name.split("-")[1]):
                self.put_off[address] = seen + 1
                return f"451 4.3.0 <{address}> come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        secure = "tls" if server.transport.get_extra_info("ssl_object") else "plain"
        head = f"X-Sink: {secure} auth={bool(session.authenticated)}\r\nX-Receiver: {envelope.rcpt_tos[0]}\r\n"
        name = f"{time.time_ns()}-{uuid.uuid4()}"
        part = self.folder / f".{name}"
        part.write_bytes(head.encode() + envelope.content)
        part.rename(self.folder / f"{name}.eml")
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ada", b"lovelace")
    return AuthResult(success=known, handled=False)


async def main():
    folder, mode = pathlib.Path(sys.argv[1]), sys.argv[3]
    options, wrapper = {}, None
    if mode != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
        options = {"authenticator": authenticate, "auth_required": True}
        if mode == "starttls":
            options |= {"tls_context": context, "require_starttls": True}
        else:
            options |= {"auth_require_tls": False}
            wrapper = context
    keep = Keep(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(keep, **options), "127.0.0.1", int(sys.argv[2]), ssl=wrapper)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
