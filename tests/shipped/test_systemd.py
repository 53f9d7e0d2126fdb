"""The shipped unit with its drop-in for TLS, under a real systemd that is process 1 of a namespace."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from support import ROOT, gateway

DEPLOY = ROOT / "docs" / "deploy"
BOOT = pathlib.Path(__file__).with_name("systemd_root.sh")
# CAP_NET_BIND_SERVICE
BIND = 1 << 10

# Each step prints its name, and then what is looked at.
STEPS = """
step() { echo "== $1"; }
step start; systemctl start seawall || { journalctl --no-pager --lines 50; exit; }
step https; curl --silent --max-time 30 --cacert /etc/seawall/tls.crt https://localhost/health/ready; echo
step doctor; cd /
# A busy machine may degrade the gateway for a moment.
for _ in {1..30}; do
    doctor=$(seawall doctor 2>&1); code=$?
    [ $code = 0 ] && break
    sleep 1
done
echo "$doctor"; echo $code
step process; cat /proc/$(systemctl show seawall -p MainPID --value)/status
step key; stat -c %a:%u /etc/seawall/tls.key
step reload; systemctl reload seawall; echo $?
step status
for _ in {1..300}; do
    systemctl show seawall -p StatusText --value | grep -qx "serving; 0 connections; health ok" && break
    sleep 0.1
done
systemctl show seawall -p StatusText --value
step frozen
kill -STOP $(systemctl show seawall -p MainPID --value)
for _ in {1..600}; do
    [ "$(systemctl show seawall -p NRestarts --value)" = 1 ] && systemctl is-active --quiet seawall && break
    sleep 0.1
done
systemctl show seawall -p NRestarts --value
step stop; systemctl stop seawall; systemctl show seawall -p Result --value
step journal; journalctl --unit seawall --no-pager -o json
step wrong
echo 'pings = 1' > /etc/seawall/seawall.toml
systemctl start seawall
for _ in {1..300}; do systemctl is-failed --quiet seawall && break; sleep 0.1; done
sleep 2
systemctl show seawall -p ExecMainStatus -p NRestarts -p ActiveState
"""


def absent():
    """The reason why no systemd can be booted here, or nothing."""
    if os.geteuid() != 0:
        return "it needs root"
    for program in ("unshare", "pivot_root", "curl", "openssl", "ip"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/sbin:/usr/sbin"):
            return f"there is no {program}"
    if not pathlib.Path("/lib/systemd/systemd").exists():
        return "there is no systemd"
    if not re.search(r"^\S+ \S+ cgroup2 rw", pathlib.Path("/proc/mounts").read_text(), re.MULTILINE):
        return "there is no hierarchy of control groups to write"
    return None


class SystemdTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = absent()
        if reason:
            raise unittest.SkipTest(reason)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            shutil.copytree(DEPLOY, folder / "units", ignore=lambda _, names: [n for n in names if not re.search(r"service|\.conf$", n)])
            (folder / "seawall").mkdir()
            (folder / "seawall" / "seawall.toml").write_text('[server]\nlisten = "127.0.0.1:443"\n')
            (folder / "seawall" / "seawall.env").write_text("SEAWALL_AUTH_SECRET=a secret of a test, which is longer than 32 bytes\n")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", "tls.crt", "-keyout", "tls.key"],
                cwd=folder / "seawall", check=True, capture_output=True,
            )
            (folder / "seawall" / "tls.key").chmod(0o600)
            (folder / "steps.sh").write_text(STEPS)
            run = subprocess.run([BOOT, gateway(), folder], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            output = folder / "output"
            text = output.read_text() if output.exists() else ""
        parts = re.split(r"^== (\w+)\n", text, flags=re.MULTILINE)
        cls.steps = dict(zip(parts[1::2], (part.strip() for part in parts[2::2])))
        if not cls.steps:
            # A container without the rights for namespaces, for example.
            raise unittest.SkipTest(f"systemd does not boot here: {run.stderr.strip()[-300:]}")
        assert "wrong" in cls.steps, f"systemd ended early: {text}\n{run.stdout}\n{run.stderr}"

    def test_service_starts_and_serves_tls_on_port_443_with_a_key_that_only_root_can_read(self):
        self.assertEqual((self.steps["start"], self.steps["key"]), ("", "600:0"))
        self.assertIn('"status":"pass"', self.steps["https"])

    def test_doctor_names_the_gateway_from_any_folder(self):
        self.assertRegex(self.steps["doctor"], r"^as \S+ \(pid \d+; /etc/seawall/seawall\.toml, \d variables?\) sees it:")
        self.assertTrue(self.steps["doctor"].endswith("\n0"))

    def test_process_has_its_own_user_and_the_right_to_bind_alone(self):
        process = dict(line.split(":\t", 1) for line in self.steps["process"].splitlines() if ":\t" in line)
        self.assertNotIn("0", process["Uid"].split("\t"))
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(process[kind], 16), BIND, kind)
        self.assertEqual((process["NoNewPrivs"], process["Seccomp"]), ("1", "2"))

    def test_reload_returns_and_the_status_is_shown(self):
        self.assertEqual(self.steps["reload"], "0")
        self.assertEqual(self.steps["status"], "serving; 0 connections; health ok")

    def test_frozen_process_is_killed_and_started_again_and_a_stop_is_no_failure(self):
        self.assertEqual((self.steps["frozen"], self.steps["stop"]), ("1", "success"))
        self.assertRegex(self.steps["journal"], r'"PRIORITY":"6".*"MESSAGE":"[^"]*serving|"MESSAGE":"[^"]*serving.*"PRIORITY":"6"')

    def test_wrong_configuration_is_not_tried_again(self):
        self.assertEqual(set(self.steps["wrong"].splitlines()[-3:]), {"ExecMainStatus=2", "NRestarts=0", "ActiveState=failed"})


if __name__ == "__main__":
    unittest.main()
