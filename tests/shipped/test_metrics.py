"""The metrics, as Prometheus judges their names and texts."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

from support import ROOT, free_port, gateway, process, until
from websocket import dial, request


RULES = ROOT / "docs" / "deploy" / "alerts.yaml"


class MetricsTest(unittest.TestCase):
    @unittest.skipUnless(shutil.which("promtool"), "there is no promtool (the Debian package prometheus)")
    def test_promtool_finds_no_fault_in_the_metrics(self):
        port = free_port()
        settings = {"SEAWALL_AUTH_SECRET": "a secret of a test, which is longer than 32 bytes", "SEAWALL_ADMIN_LISTEN": "off"}
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            with process([gateway(), "--listen", f"127.0.0.1:{port}"], folder, settings):
                until("the gateway listens", lambda: dial(port).close() is None)
                text = self.metrics(port)
        self.assertIn(b"seawall_connections ", text)
        judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        self.assertEqual((judged.returncode, judged.stderr.decode()), (0, ""))

    @unittest.skipUnless(shutil.which("promtool"), "there is no promtool (the Debian package prometheus)")
    def test_promtool_finds_no_fault_in_the_alerts(self):
        judged = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True)
        self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)

    def test_alerts_use_metrics_that_exist_and_severities_that_are_explained(self):
        documented = (ROOT / "docs" / "operations.md").read_text()
        for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
            self.assertIn(f"| `{rule['labels']['severity']}` |", documented)
            for name in re.findall(r"seawall_([a-z_]+)", rule["expr"]):
                self.assertRegex(documented, rf"`(?:seawall_)?{name}[`{{]", rule["alert"])

    def metrics(self, port):
        """The answer in the text format, to the end of the connection."""
        with dial(port) as stream:
            headers = [("Host", f"127.0.0.1:{port}"), ("Accept", "text/plain"), ("Connection", "close")]
            status, head, body = request(stream, "/metrics", headers)
            self.assertEqual(status, 200, head)
            while more := stream.recv(65536):
                body += more
        return body


if __name__ == "__main__":
    unittest.main()
