"""The files in docs/deploy: each is parsed, and compared with the gateway, with the others and with the guide."""

import fnmatch
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest

import yaml

from support import ROOT, gateway

DEPLOY = ROOT / "docs" / "deploy"
GUIDE = (ROOT / "docs" / "deploy.md").read_text()
# The paths that browsers need, except the files below /assets/: the page, the modules, and WebSockets.
MODULES = set(re.findall(r'path: "(/seawall-client[a-z-]*\.js)"', (ROOT / "web" / "dist" / "files.rs").read_text()))
PUBLIC = {"/", "/ws", "/assets/"} | MODULES


def check_config(settings, *arguments):
    """Whether the gateway accepts a configuration, and its complaints."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [gateway(), "check-config", *arguments], cwd=folder, env=settings, stdin=subprocess.DEVNULL, capture_output=True,
            text=True,
        )
    return run.returncode, run.stderr


def seconds(text):
    return int(text.removesuffix("s"))


class KubernetesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
        cls.kinds = {document["kind"]: document for document in documents}
        assert len(cls.kinds) == len(documents), "a kind twice"
        cls.pod = cls.kinds["Deployment"]["spec"]["template"]["spec"]
        (cls.container,) = cls.pod["containers"]

    @unittest.skipUnless(importlib.util.find_spec("kubernetes_validate"), "there is no kubernetes-validate (PyPI)")
    def test_each_object_has_the_schema_of_kubernetes(self):
        import kubernetes_validate

        for document in self.kinds.values():
            for version in ("1.28", "1.34"):
                kubernetes_validate.validate(document, version, strict=True)

    def test_ingress_forwards_exactly_what_browsers_need(self):
        (rule,) = self.kinds["Ingress"]["spec"]["rules"]
        paths = {path["path"]: path for path in rule["http"]["paths"]}
        self.assertEqual(set(paths), PUBLIC)
        self.assertEqual({path for path in paths if paths[path]["pathType"] == "Prefix"}, {"/assets/"})
        for path in paths.values():
            service = path["backend"]["service"]
            self.assertEqual(service["name"], self.kinds["Service"]["metadata"]["name"])
            self.assertIn(service["port"]["name"], [port["name"] for port in self.kinds["Service"]["spec"]["ports"]])

    def test_selectors_find_the_pods(self):
        labels = self.kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(self.kinds["Deployment"]["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(self.kinds["Service"]["spec"]["selector"], labels)
        self.assertEqual(self.kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(self.kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], labels)

    def test_network_policy_names_the_port_and_leaves_no_direction_open(self):
        policy = self.kinds["NetworkPolicy"]["spec"]
        self.assertEqual(set(policy["policyTypes"]), {"Ingress", "Egress"})
        (port,) = [port["containerPort"] for port in self.container["ports"]]
        for rule in policy["ingress"]:
            self.assertEqual([each["port"] for each in rule["ports"]], [port])
        for rule in policy["ingress"] + policy["egress"]:
            self.assertTrue(rule.get("from") or rule.get("to"), "a rule for every peer")

    def test_guide_makes_the_secret_that_the_pods_read(self):
        references = [each["valueFrom"]["secretKeyRef"] for each in self.container["env"] if "secretKeyRef" in each["valueFrom"]]
        command = re.search(r"kubectl create secret generic (\S+)((?:.*\\\n)+.*)", GUIDE)
        self.assertIsNotNone(command, "docs/deploy.md makes no Secret")
        made = set(re.findall(r"--from-(?:literal|file)=(\w+)=", command.group(2)))
        self.assertEqual({reference["name"] for reference in references}, {command.group(1)})
        self.assertEqual({reference["key"] for reference in references}, made)
        self.assertIn(f"kubectl create secret tls {self.kinds['Ingress']['spec']['tls'][0]['secretName']}", GUIDE)

    def test_gateway_accepts_the_configuration(self):
        text = self.kinds["ConfigMap"]["data"]["seawall.toml"]
        for network in tomllib.loads(text)["server"]["trusted_proxies"]:
            self.assertGreaterEqual(int(network.split("/")[1]), 24, f"{network} would let strangers name any address")
        settings = {each["name"]: "" for each in self.container["env"]} | {
            "SEAWALL_SERVER_INSTANCE": "chat-7d9f",
            "SEAWALL_AUTH_SECRET": "a secret of a test, which is longer than 32 bytes",
            "SEAWALL_STORE_URL": "postgres://chat:x@192.0.2.17/chat?sslmode=verify-full&sslrootcert=system",
            "SEAWALL_BUS_URL": "rediss://:x@192.0.2.18/0",
        }
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "seawall.toml"
            path.write_text(text)
            self.assertEqual(check_config(settings, "--config", path)[0], 0, check_config(settings, "--config", path)[1])

    def test_pod_has_time_for_a_drain_and_no_rights(self):
        (wait,) = [self.container["lifecycle"]["preStop"]["exec"]["command"][1]]
        self.assertGreaterEqual(self.pod["terminationGracePeriodSeconds"], int(wait) + 28 + 5)
        self.assertTrue(self.container["securityContext"]["readOnlyRootFilesystem"])
        self.assertFalse(self.pod["automountServiceAccountToken"])
        self.assertIn("@sha256:", self.container["image"])


class ProxyTest(unittest.TestCase):
    def test_idle_connection_outlives_every_proxy(self):
        reference = (ROOT / "docs" / "configuration.md").read_text()
        ping_ms, pong_ms = (int(re.search(rf"^\| `{name}` \| `(\d+)`", reference, re.MULTILINE)[1]) for name in ("ping_ms", "pong_ms"))
        patterns = {
            "nginx.conf": (r"proxy_(?:read|send)_timeout (\S+);", 2),
            "nginx-tls.conf": (r"proxy_(?:read|send)_timeout (\S+);", 2),
            "haproxy.cfg": (r"timeout (?:client|server|tunnel) (\S+)", 3),
            "haproxy-tls.cfg": (r"timeout (?:client|server|tunnel) (\S+)", 3),
            "kubernetes.yaml": (r'proxy-(?:read|send)-timeout: "(\S+)"', 2),
        }
        for name, (pattern, count) in patterns.items():
            timeouts = re.findall(pattern, (DEPLOY / name).read_text())
            self.assertEqual(len(timeouts), count, name)
            for timeout in timeouts:
                # A ping that is late costs no connection, and the gateway ends a dead one before the proxy does.
                self.assertGreaterEqual(seconds(timeout) * 1_000, 2 * ping_ms, name)
                self.assertGreater(seconds(timeout) * 1_000, ping_ms + pong_ms, name)


def is_sent(path, rules):
    """Whether a path is part of the context of a build: the last pattern that matches it, or a folder above it, decides."""
    sent = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        if pattern.startswith("**/"):
            matches = any(fnmatch.fnmatchcase(part, pattern.removeprefix("**/")) for part in parts)
        else:
            matches = any(each.count("/") == pattern.count("/") and fnmatch.fnmatchcase(each, pattern) for each in above)
        if matches:
            sent = rule.startswith("!")
    return sent


class ContainerTest(unittest.TestCase):
    dockerfile = (DEPLOY / "Dockerfile").read_text()

    def test_context_of_the_build_has_the_sources_and_neither_secrets_nor_data(self):
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        rules = [line for line in lines if line and not line.startswith("#")]
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        needed = {path for path in tracked if re.match(r"Cargo\.|src/|web/dist/|(benches|tools/[\w-]+)/Cargo\.toml$", path)}
        # Files from elsewhere that become part of the program. Those of its tests are not needed, and do no harm.
        for source in [path for path in needed if path.endswith(".rs")]:
            text = (ROOT / source).read_text().split("#[cfg(test)]")[0]
            for name in re.findall(r'(?:include_(?:str|bytes)!\(|#\[path = )"([^"]+)"', text):
                needed.add(os.path.relpath((ROOT / source).parent / name, ROOT))
        self.assertGreater(len(needed), 300)
        self.assertEqual({path for path in needed if not is_sent(path, rules)}, set())
        local = [
            ".git/config", ".env", "seawall.toml", "seawall.db", "data/seawall.db", "admin.token", "tls.key", "target/debug/seawall",
            "src/target/x", "tools/load/target/x", "web/node_modules/x", "backup/seawall-2026.db", "docs/deploy.md",
        ]
        self.assertEqual([path for path in local if is_sent(path, rules)], [])

    def test_image_of_dependencies_has_the_manifest_of_each_member(self):
        members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
        for member in members:
            self.assertIn(f"\nCOPY {member}/Cargo.toml {member}/\n", self.dockerfile)

    def test_base_images_can_be_pinned_and_nothing_is_installed(self):
        images = re.findall(r"^FROM (\S+)", self.dockerfile, re.MULTILINE)
        self.assertEqual(images, ["${RUST_IMAGE}", "${DEBIAN_IMAGE}"])
        for image in images:
            name = image.strip("${}")
            self.assertRegex(self.dockerfile, rf"(?m)^ARG {name}=\S+:\S+$")
            self.assertIn(f"--build-arg {name}=", GUIDE)
        self.assertNotIn("apt-get", self.dockerfile)

    def test_health_check_is_a_command_of_the_gateway(self):
        (check,) = re.findall(r'CMD \["seawall", "(\S+)"\]', self.dockerfile)
        run = subprocess.run([gateway(), check, "--help"], capture_output=True)
        self.assertEqual(run.returncode, 0)

    def test_compose_file_starts_what_the_gateway_accepts(self):
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        service = compose["services"]["seawall"]
        wanted = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
        made = set(re.findall(r'"(\w+)=\$\(openssl rand', GUIDE))
        self.assertEqual(wanted, made, "docs/deploy.md makes another .env")
        settings = dict(re.findall(r"(SEAWALL_\w+)=(\S+?)(?: \\)?$", self.dockerfile, re.MULTILINE))
        for name, value in service["environment"].items():
            settings[name] = re.sub(r"\$\{\w+:\?[^}]*\}", "0123456789abcdef0123456789abcdef", value)
        code, complaints = check_config(settings)
        self.assertEqual((code, complaints), (0, ""))
        self.assertGreaterEqual(seconds(service["stop_grace_period"]), 28 + 5)
        for name, network in (("postgres", "stores"), ("redis", "stores")):
            self.assertEqual(compose["services"][name]["networks"], [network])
            self.assertNotIn("ports", compose["services"][name], "reachable from outside")
        self.assertTrue(compose["networks"]["stores"]["internal"])
        self.assertTrue(all(port.startswith("127.0.0.1:") for port in service["ports"]))
        for volume in (each.split(":")[0] for one in compose["services"].values() for each in one.get("volumes", [])):
            self.assertIn(volume, compose["volumes"])


class SystemdTest(unittest.TestCase):
    def test_drop_in_hands_certificate_and_key_to_the_service_and_opens_port_443(self):
        text = (DEPLOY / "seawall.service.d" / "tls.conf").read_text()
        credentials = set(re.findall(r"^LoadCredential=(\S+):", text, re.MULTILINE))
        used = dict(re.findall(r"^Environment=(SEAWALL_TLS_\w+)=%d/(\S+)$", text, re.MULTILINE))
        self.assertEqual(set(used), {"SEAWALL_TLS_CERTIFICATE", "SEAWALL_TLS_KEY"})
        self.assertEqual(set(used.values()), credentials)
        for setting in ("AmbientCapabilities", "CapabilityBoundingSet"):
            self.assertIn(f"\n{setting}=CAP_NET_BIND_SERVICE\n", text)
        self.assertIn("\nPrivateUsers=no\n", text)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_systemd_finds_no_fault_in_units_with_and_without_the_drop_in(self):
        for has_drop_in in (False, True):
            with tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                for unit in DEPLOY.glob("*.service"):
                    text = unit.read_text().replace("/usr/local/bin/seawall", str(gateway()))
                    (folder / unit.name.replace("@", "@blue")).write_text(text.replace("%i", "blue"))
                    if has_drop_in:
                        shutil.copytree(DEPLOY / "seawall.service.d", folder / f"{unit.name.replace('@', '@blue')}.d")
                units = sorted(folder.glob("*.service"))
                self.assertEqual(len(units), 2)
                run = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
                self.assertEqual((run.returncode, run.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
