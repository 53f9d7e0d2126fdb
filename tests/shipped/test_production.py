"""The guide to a first production deployment, from its first command to the restore, with a real PostgreSQL and TLS."""

import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from guide import Clone, blocks, executable, frames, postgres
from support import ROOT, free_port, until
from websocket import WebSocket, dial

HOST = "chat.example.com"
# Commands that this test cannot run: their beginning, and why.
SKIPPED = {
    "useradd": "it changes the machine",
    "as_seawall()": "the test is one user, and has a program of this name",
    "install -m 0644 docs/deploy/seawall.service": "the test starts the program itself",
    "systemctl daemon-reload": "there is no systemd",
    "systemctl status": "there is no systemd",
    "journalctl": "there is no systemd",
    "seawall --config /etc/seawall/seawall.toml --data /var/lib/seawall drain --status": "it watches the restart, which is over",
}


class Operator:
    """Follows the guide: each step is a block, and the places on the machine are folders of the test."""

    def __init__(self, test, folder, port):
        self.test, self.folder, self.skipped, self.served, self.token = test, folder, set(), None, None
        self.secure, self.admin = free_port(), free_port()
        self.clone = Clone(folder, {"SEAWALL_ADMIN_LISTEN": f"127.0.0.1:{self.admin}"})
        (self.clone.bin / "install").unlink()
        self.clone.run("cargo build --release")
        self.clone.settings["PATH"] = f"{folder}/usr:{self.clone.settings['PATH']}"
        executable(self.clone.bin / "as_seawall", '#!/bin/sh\nexec "$@"\n')
        (folder / "usr").mkdir()
        self.places = {
            "/etc/seawall": f"{folder}/etc",
            "/usr/local/bin": f"{folder}/usr",
            "/var/lib/seawall": f"{folder}/state",
            "?sslmode=verify-full&sslrootcert=system": "",
            "db.example.com": f"127.0.0.1:{port}",
            "0.0.0.0:8443": f"127.0.0.1:{self.secure}",
            f"{HOST}:8443": f"{HOST}:{self.secure}",
            "127.0.0.1:8081": f"127.0.0.1:{self.admin}",
            " -o root -g seawall": "",
            "chat:…@": "chat:x@",
        }

    def here(self, text):
        for documented, own in self.places.items():
            text = text.replace(documented, own)
        return text

    def follow(self, path):
        for block in blocks(path):
            self.where = f"{path.name}:{block.line}"
            text = self.here("\n".join(block.lines)) + "\n"
            first = block.lines[0]
            if block.is_conversation():
                self.talk(block)
            elif block.language == "sql":
                self.checked("psql -q -v ON_ERROR_STOP=1 postgres", text)
            elif block.language == "toml":
                self.write("etc/seawall.toml", text)
            elif first.startswith("SEAWALL_"):
                self.write("etc/seawall.env", text)
            elif first == "#!/bin/sh":
                executable(self.folder / "hook", text.replace("systemctl", "true"))
                self.checked(f"RENEWED_LINEAGE=. {self.folder}/hook")
            elif block.language == "sh":
                self.token = self.checked(f"set -e\n{text}").strip().splitlines()[-1]
            else:
                for line in block.lines:
                    if line.startswith(("# ", "$ ")):
                        self.run(line[2:])

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    def checked(self, command, text=None):
        if text is not None:
            self.write("input", text)
            command = f"{command} < {self.folder}/input"
        code, output = self.clone.run(command)
        self.test.assertEqual(code, 0, f"{self.where}: {command}: {output}")
        return output

    def run(self, documented):
        for start in SKIPPED:
            if documented.startswith(start):
                self.skipped.add(start)
                return
        command = self.here(documented)
        if found := re.match(r"set -a; \. (\S+); set \+a$", command):
            text = pathlib.Path(found.group(1)).read_text()
            self.clone.settings |= dict(re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE))
        elif found := re.match(r"systemctl (enable --now|start|restart|stop|reload) seawall$", command):
            self.unit(found.group(1))
        elif command.startswith("curl"):
            until(f"{self.where}: {command}", lambda: self.clone.run(command)[0] == 0)
        else:
            self.checked(command)

    def unit(self, verb):
        """What systemd would do with the unit."""
        if verb == "reload":
            return self.served.send_signal(signal.SIGHUP)
        self.stop()
        if verb != "stop":
            self.serving = self.clone.serving(f"seawall --config {self.folder}/etc/seawall.toml --data {self.folder}/state")
            self.served, _ = self.serving.__enter__()
            until(f"{self.where}: it listens", lambda: dial(self.secure).close() is None)

    def stop(self):
        if self.served is not None:
            self.serving.__exit__(None, None, None)
            self.served = None

    def talk(self, block):
        with dial(self.secure, self.folder / "clone" / "fullchain.pem", HOST) as stream:
            client = WebSocket(stream, f"{HOST}:{self.secure}", "https://app.example.com")
            for sign, step in frames(block):
                if sign == ">":
                    if "connect" in step:
                        step["connect"]["token"] = self.token
                    client.send(step)
                    answer = client.receive()
                    while answer.get("id") != step["id"]:
                        answer = client.receive()
                    self.test.assertNotIn("error", answer, self.where)


class ProductionTest(unittest.TestCase):
    def test_production_guide_runs_from_the_first_command_to_the_restore(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        folder = pathlib.Path(folder.name)
        # PostgreSQL runs as another user.
        folder.chmod(0o755)
        port = free_port()
        operator = Operator(self, folder, port)
        self.addCleanup(operator.stop)
        clone = operator.clone
        clone.settings |= {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
        subprocess.run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
            "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", clone.folder / "privkey.pem",
            "-out", clone.folder / "fullchain.pem",
        ], check=True, stderr=subprocess.DEVNULL)
        (folder / ".curlrc").write_text(
            f'resolve = "{HOST}:{operator.secure}:127.0.0.1"\ncacert = "{clone.folder}/fullchain.pem"\n'
        )
        (clone.folder / "seawall-new").symlink_to(clone.folder / "target" / "release" / "seawall")
        with postgres(folder, port):
            operator.follow(ROOT / "docs" / "production.md")
            operator.stop()
        self.assertEqual(operator.skipped, set(SKIPPED), "a command is skipped that the guide does not have")
        self.assertIsNotNone(operator.token, "the guide made no token")


if __name__ == "__main__":
    unittest.main()
