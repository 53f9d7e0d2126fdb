"""The metrics, as Prometheus judges their names and texts."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

from support import ROOT, environment, free_port, gateway, process, until
from websocket import dial, request


DEPLOY = ROOT / "docs" / "deploy"
RULES = DEPLOY / "alerts.yaml"
# promtool is in the Debian package prometheus, amtool in prometheus-alertmanager.
HAS_PROMTOOL = unittest.skipUnless(shutil.which("promtool"), "SKIPPED: promtool is missing (Debian package prometheus)")
HAS_AMTOOL = unittest.skipUnless(shutil.which("amtool"), "SKIPPED: amtool is missing (Debian package prometheus-alertmanager)")


# A route, so that there are objectives of answers.
RELAY = """
[[relay]]
name = "assistant"
pattern = "thread.*"
url = "http://127.0.0.1:8070/seawall"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAA"]
user = "assistant"
"""


class MetricsTest(unittest.TestCase):
    @HAS_PROMTOOL
    def test_promtool_finds_no_fault_in_the_metrics_and_all_of_the_dashboard_exist(self):
        port = free_port()
        settings = {"SEAWALL_AUTH_SECRET": "a secret of a test, which is longer than 32 bytes", "SEAWALL_ADMIN_LISTEN": "off"}
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            with process([gateway(), "--listen", f"127.0.0.1:{port}"], folder, settings):
                until("the gateway listens", lambda: dial(port).close() is None)
                # Objectives are judged every ten seconds, and alerts by another look.
                until("both are judged", lambda: {b"seawall_slo_evaluated_timestamp_seconds", b"seawall_alert_firing"} <= self.names(port))
                text = self.metrics(port)
        self.assertIn(b"seawall_connections ", text)
        judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        self.assertEqual((judged.returncode, judged.stderr.decode()), (0, ""))
        exported = {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE ")}
        self.assertEqual(self.metrics_of_the_dashboard() - exported, set())
        self.assertEqual(self.metrics_of_the_rules() - exported, set())

    @HAS_PROMTOOL
    def test_promtool_finds_no_fault_in_the_rules(self):
        self.run_tool("promtool", "check", "rules", RULES, DEPLOY / "slo-rules.yaml")
        for name in ("slo_rules_test.yaml", "alerts_test.yaml"):
            self.run_tool("promtool", "test", "rules", pathlib.Path(__file__).with_name(name))
        with tempfile.TemporaryDirectory() as folder:
            sloth = pathlib.Path(folder) / "sloth.yaml"
            sloth.write_bytes(self.export(folder, "sloth"))
            relay = pathlib.Path(folder) / "relay.toml"
            relay.write_text(RELAY)
            rules = pathlib.Path(folder) / "relay.yaml"
            rules.write_bytes(self.export(folder, "prometheus", "--config", relay))
            self.assertIn("slo: answers}", rules.read_text())
            self.run_tool("promtool", "check", "rules", sloth, rules)

    def names(self, port):
        """The names of the metrics that a gateway shows now."""
        return {line.split()[2] for line in self.metrics(port).splitlines() if line.startswith(b"# TYPE ")}

    def export(self, folder, form, *arguments):
        """The objectives of a configuration, for another program."""
        command = [gateway(), *arguments, "slo", "export", "--format", form]
        return subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True).stdout

    @HAS_AMTOOL
    def test_amtool_finds_no_fault_in_the_routes(self):
        path = DEPLOY / "alertmanager.yaml"
        self.run_tool("amtool", "check-config", path)
        for severity, receiver in (("page", "seawall-page"), ("ticket", "seawall-ticket")):
            chosen = self.run_tool("amtool", "config", "routes", "test", "--config.file", path, f"severity={severity}")
            self.assertEqual(chosen.strip(), receiver)

    def run_tool(self, *command):
        """The output of a command that finds no fault."""
        judged = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)
        return judged.stdout

    def metrics_of_the_dashboard(self):
        """The metrics in its queries; a histogram without the end of its series."""
        dashboard = json.loads((DEPLOY / "grafana.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        names = {name for query in queries for name in re.findall(r"seawall_[a-z_]+", query)}
        self.assertGreater(len(names), 10)
        return {name.removesuffix("_bucket") for name in names}

    def metrics_of_the_rules(self):
        """The metrics in the rules of objectives, without the recorded ones."""
        groups = yaml.safe_load((DEPLOY / "slo-rules.yaml").read_text())["groups"]
        expressions = [rule["expr"] for group in groups for rule in group["rules"]]
        return {name for expression in expressions for name in re.findall(r"(?<!slo:)\bseawall_[a-z_]+", expression)}

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
