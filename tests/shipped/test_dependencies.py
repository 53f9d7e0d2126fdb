"""Dependencies: their licences and sources, and the bill of materials."""

import contextlib
import io
import json
import tomllib
import unittest

from support import ROOT, tool

dependencies = tool("dependencies")
RULES = tomllib.loads((ROOT / "deny.toml").read_text())


class DependenciesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.graph = dependencies.Graph(dependencies.metadata(), dependencies.in_program())

    def test_no_dependency_breaks_a_rule(self):
        faults = [*dependencies.crate_faults(self.graph, RULES), *dependencies.lock_faults(), *dependencies.npm_faults()]
        self.assertEqual(faults, [])

    def test_licence_that_is_not_allowed_is_a_fault(self):
        allowed = [name for name in RULES["licenses"]["allow"] if name != "MIT"]
        faults = list(dependencies.crate_faults(self.graph, RULES | {"licenses": {"allow": allowed}}))
        self.assertTrue(any("licence MIT is not in deny.toml" in fault for fault in faults), faults)

    def test_banned_crate_in_the_program_is_a_fault_even_behind_a_wrapper(self):
        ban = {"crate": "mio", "wrappers": ["seawall"], "reason": "of a test"}
        faults = list(dependencies.crate_faults(self.graph, RULES | {"bans": {"deny": [ban]}}))
        self.assertEqual(len(faults), 1, faults)

    def test_licence_expressions_are_understood(self):
        allowed = {"MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"}
        for text, met in [
            ("MIT", True),
            ("GPL-3.0-only", False),
            ("GPL-3.0-only OR MIT", True),
            ("MIT AND GPL-3.0-only", False),
            ("GPL-2.0-only OR MIT AND ISC", True),
            ("(MIT OR GPL-2.0-only) AND ISC", True),
            ("MIT AND (GPL-2.0-only OR LGPL-3.0-only)", False),
            ("Apache-2.0 WITH LLVM-exception", True),
            ("MIT WITH LLVM-exception", False),
            ("", False),
        ]:
            self.assertEqual(dependencies.is_allowed(text, allowed), met, text)

    def test_bill_of_materials_is_complete(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            dependencies.sbom(self.graph)
        bill = json.loads(out.getvalue())
        self.assertEqual((bill["bomFormat"], bill["specVersion"]), ("CycloneDX", "1.5"))
        references = [each["bom-ref"] for each in bill["components"]]
        self.assertEqual(len(references), len(set(references)), "a component is listed twice")
        names = {each["name"] for each in bill["components"]}
        self.assertLessEqual({"rustls", "aws-lc-sys", "libsqlite3-sys", "sqlite", "mio"}, names)
        self.assertTrue(names.isdisjoint({"tokio", "proptest"}), "a crate of the tests is listed")
        known = {*references, bill["metadata"]["component"]["bom-ref"]}
        for depends in bill["dependencies"]:
            self.assertLessEqual({depends["ref"], *depends["dependsOn"]}, known)
        for each in bill["components"]:
            self.assertTrue(each["version"] and each["licenses"], each["name"])
            self.assertTrue("hashes" in each or not each["purl"].startswith("pkg:cargo/"), each["name"])


if __name__ == "__main__":
    unittest.main()
