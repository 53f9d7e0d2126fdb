"""The packages: they are unpacked, and the program runs from there."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from support import ROOT, environment, gateway, tool

package = tool("package")
# A newer linker would make a program that needs a newer glibc than the documented one.
OLDEST_GLIBC = (2, 36)


def run(*command, folder=None):
    return subprocess.run(command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        place = pathlib.Path(cls.folder.name)
        cls.out = place / "out"
        made = run(ROOT / "tools" / "package", "--program", gateway(), "--out", cls.out, "--parts", "tar,deb")
        assert made.returncode == 0, made.stderr
        cls.program = package.Program(gateway(), place)
        (archive,) = cls.out.glob("*.tar.gz")
        (cls.deb,) = cls.out.glob("*.deb")
        subprocess.run(["tar", "xzf", archive, "-C", place], check=True)
        (cls.unpacked,) = place.glob("seawall-*-linux")
        cls.installed = place / "root"
        subprocess.run(["dpkg-deb", "-x", cls.deb, cls.installed], check=True)

    def runs(self, program, configuration):
        """Runs the program as it was unpacked, with the shipped configuration."""
        version = run(program, "--version")
        self.assertEqual((version.returncode, version.stdout), (0, f"seawall {self.program.version}\n"))
        checked = run(program, "check-config", "--config", configuration, folder=self.folder.name)
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_program_of_the_archive_runs(self):
        self.runs(self.unpacked / "seawall", self.unpacked / "seawall.example.toml")

    def test_program_of_the_debian_package_runs(self):
        self.runs(self.installed / "usr/bin/seawall", self.installed / "etc/seawall/seawall.toml")

    def test_checksums_match(self):
        checked = run("sha256sum", "--check", "--strict", "SHA256SUMS", folder=self.out)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        listed = {line.split()[1] for line in (self.out / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(listed, {path.name for path in self.out.iterdir()} - {"SHA256SUMS"})

    def test_unit_of_the_debian_package_starts_its_own_program(self):
        units = sorted((self.installed / "lib/systemd/system").iterdir())
        self.assertEqual([unit.name for unit in units], ["seawall.service", "seawall@.service"])
        for unit in units:
            program, = re.findall(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)
            self.assertTrue((self.installed / program[1:]).exists(), f"{unit.name} starts {program}")

    def test_debian_package_depends_on_what_the_program_needs(self):
        depends = run("dpkg-deb", "-f", self.deb, "Depends").stdout.strip()
        self.assertEqual(depends, f"libc6 (>= {self.program.glibc()}), libgcc-s1")

    def test_documented_requirements_are_those_of_the_program(self):
        text = " ".join((ROOT / "docs" / "operations.md").read_text().split())
        needs = re.search(r"It needs glibc ([0-9.]+) or later and (libgcc_s)", text)
        self.assertIsNotNone(needs, "docs/operations.md does not name what the program needs")
        libraries = {package.LIBRARIES[library] for library in self.program.libraries()}
        self.assertEqual(libraries, {"libc6", "libgcc-s1"})
        if tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."))) <= OLDEST_GLIBC:
            self.assertEqual(self.program.glibc(), needs.group(1))

    def test_licences_of_everything_in_the_program_are_shipped(self):
        text = (self.unpacked / "THIRD-PARTY.txt").read_text()
        for name in ("rustls", "aws-lc-sys", "libsqlite3-sys", "SQLite", "mio"):
            self.assertIn(name, text)
        self.assertIn("Permission is hereby granted, free of charge", text)
        copyright = (self.installed / "usr/share/doc/seawall/copyright").read_text()
        self.assertIn((ROOT / "LICENSE-MIT").read_text(), copyright)

    def test_manual_page_names_every_command_and_option(self):
        page = (self.unpacked / "seawall.1").read_text().replace("\\-", "-")
        top = run(self.program.path, "--help").stdout
        commands = re.findall(r"^  ([a-z][a-z-]+)", top.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
        self.assertGreater(len(commands), 8)
        for command in set(commands) - {"help"}:
            self.assertIn(f".SS {command}\n", page)
            for option in re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", run(self.program.path, command, "--help").stdout, re.MULTILINE):
                self.assertIn(option, page)
        if shutil.which("groff"):
            formatted = run("groff", "-man", "-ww", "-Tutf8", self.unpacked / "seawall.1")
            self.assertEqual(formatted.stderr, "")

    def test_completions_are_programs_of_their_shell(self):
        checked = run("bash", "-n", self.unpacked / "completions/seawall.bash")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        for shell in package.SHELLS:
            self.assertIn("check-config", (self.unpacked / f"completions/seawall.{shell}").read_text())


if __name__ == "__main__":
    unittest.main()
