"""nginx and HAProxy with TLS, with the files of docs/deploy; only addresses and certificates are replaced."""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import tempfile
import unittest

from support import ROOT, free_port, gateway, process, until
from websocket import WebSocket, dial, request

HOST = "chat.example.com"
SECRET = "a secret of a test, which is longer than 32 bytes"
PASSED = ("/", "/seawall-client.js", "/seawall-client-outbox.js", "/seawall-client-presence.js", "/seawall-client-timeline.js")
KEPT = ("/metrics", "/health", "/health/ready", "/health/dependencies", "/echo", "/seawall-client.js/x", "/wsx")


class ProxiesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # nginx gives up the rights of root.
        self.folder.chmod(0o755)
        self.certificate, key = self.folder / "fullchain.pem", self.folder / "privkey.pem"
        subprocess.run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
            "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", key, "-out", self.certificate,
        ], check=True, stderr=subprocess.DEVNULL)
        (self.folder / "all.pem").write_text(self.certificate.read_text() + key.read_text())
        self.plain, self.secure, self.gateway_port = free_port(), free_port(), free_port()
        # The port of the gateway that is down: bound, so that nothing else can answer there.
        self.down = socket.socket()
        self.addCleanup(self.down.close)
        self.down.bind(("127.0.0.1", 0))

    def configured(self, name, replaced):
        """The documented file with other addresses, each of which must be in it."""
        text = (ROOT / "docs" / "deploy" / name).read_text()
        addresses = {
            "0.0.0.0:443": f"127.0.0.1:{self.secure}",
            "0.0.0.0:80": f"127.0.0.1:{self.plain}",
            "127.0.0.1:8080": f"127.0.0.1:{self.gateway_port}",
            "127.0.0.1:8090": f"127.0.0.1:{self.down.getsockname()[1]}",
            "/etc/ssl/chat.example.com": str(self.folder),
        }
        for documented, here in (addresses | replaced).items():
            self.assertIn(documented, text)
            text = text.replace(documented, here)
        path = self.folder / name
        path.write_text(text)
        return path

    def settings(self, more):
        return {
            "SEAWALL_AUTH_SECRET": SECRET,
            "SEAWALL_ADMIN_LISTEN": "off",
            "SEAWALL_SERVER_ORIGINS": f"https://{HOST}",
            "SEAWALL_SERVER_TRUSTED_PROXIES": "127.0.0.0/8",
        } | more

    def serves_browsers_and_hides_the_rest(self, command, settings):
        place = self.folder / "gateway"
        place.mkdir()
        listen = ["--listen", f"127.0.0.1:{self.gateway_port}", "--reactors", "1"]
        with process([gateway(), *listen], place, settings), contextlib.ExitStack() as stack:
            # nginx would leave a gateway alone for 2 s that it found closed.
            until("the gateway listens", lambda: dial(self.gateway_port).close() is None)
            stack.enter_context(process(command, self.folder))
            until("the page comes through the proxy", lambda: self.status("/") == 200)
            for path in PASSED:
                self.assertEqual(self.status(path), 200, path)
            for path in KEPT:
                self.assertEqual(self.status(path), 404, path)
            with dial(self.plain) as stream:
                status, head, _ = request(stream, "/x", [("Host", HOST)])
            self.assertEqual((status, f"location: https://{HOST}/x" in head.lower()), (301, True), head)
            self.chats(settings)

    def status(self, path):
        with dial(self.secure, self.certificate) as stream:
            return request(stream, path, [("Host", HOST)])[0]

    def chats(self, settings):
        token = subprocess.run(
            [gateway(), "token", "--sub", "ann", "--channel", "*=subscribe,publish"], cwd=self.folder, env=settings,
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout.strip()
        with dial(self.secure, self.certificate) as stream:
            client = WebSocket(stream, HOST, f"https://{HOST}")
            client.send({"id": 1, "connect": {"token": token}})
            self.assertEqual(client.receive()["connected"]["user"], "ann")
            client.send({"id": 2, "publish": {"channel": "lobby", "key": "k1", "data": {"text": "hello"}}})
            self.assertEqual(client.receive()["published"]["offset"], 1)

    def test_nginx_with_tls_serves_browsers_and_hides_the_rest(self):
        temporary = " ".join(f"{of}_temp_path {self.folder}/{of};" for of in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        path = self.configured("nginx-tls.conf", {"access_log off;": f"access_log off; {temporary}"})
        own = f"daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log info;"
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        self.serves_browsers_and_hides_the_rest([nginx, "-p", self.folder, "-c", path, "-g", own], self.settings({}))

    def test_haproxy_with_tls_serves_browsers_and_hides_the_rest(self):
        path = self.configured("haproxy-tls.cfg", {})
        haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        settings = self.settings({"SEAWALL_SERVER_PROXY_PROTOCOL": "required"})
        self.serves_browsers_and_hides_the_rest([haproxy, "-db", "-f", path], settings)


if __name__ == "__main__":
    unittest.main()
