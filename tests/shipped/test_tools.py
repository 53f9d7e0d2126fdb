"""The tools that run the tests: a check that checks nothing fails."""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest

from support import ROOT, tool


class SkippedTest(unittest.TestCase):
    runner = tool("side_by_side.py")

    def run_job(self, script):
        job = self.runner.Job("target", [sys.executable, "-c", script], ROOT, {})
        with contextlib.redirect_stdout(io.StringIO()):
            return job.run()

    def report(self, jobs, must_run_all):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = self.runner.report_skips(jobs, must_run_all)
        return status, output.getvalue()

    def test_skipped_test_is_listed_and_fails_a_run_of_everything(self):
        line = "import sys; sys.stderr.write('SKIPPED: no disk can be mounted\\n'); print('test result: ok. 3 passed')"
        jobs = [self.run_job(line), self.run_job("print('test result: ok. 1 passed; 1 ignored')")]
        status, text = self.report(jobs, False)
        self.assertEqual((status, "SKIPPED: target: no disk can be mounted" in text), (0, True), text)
        self.assertEqual(self.report(jobs, True)[0], 1)
        self.assertEqual(self.report(jobs[1:], True), (0, ""))

    def test_skips_of_python_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            test = "import unittest\n\n@unittest.skip(\"SKIPPED: there is no tool\")\nclass T(unittest.TestCase):\n    def test_it(self): pass\n"
            pathlib.Path(folder, "test_it.py").write_text(test)
            # As the runner runs the tests of what is shipped.
            script = f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'unittest', 'discover', '-v', '-s', {folder!r}])"
            self.assertEqual(self.run_job(script).skipped, ["there is no tool"])


class NamedTestsTest(unittest.TestCase):
    named = tool("named_tests.py")

    def test_tests_of_files_and_inline_modules_are_found(self):
        files = {
            "main.rs": "mod inner;\n#[path = \"elsewhere/other.rs\"]\nmod renamed;\n#[test]\nfn at_the_root() {}\nfn no_test() {}\n",
            "inner/mod.rs": "mod tests {\n    #[test]\n    #[should_panic]\n    fn within() {}\n}\n",
            "elsewhere/other.rs": "#[test]\nfn by_path() {}\n",
        }
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            found = set(self.named.tests(pathlib.Path(folder, "main.rs")))
        self.assertEqual(found, {"at_the_root", "inner::tests::within", "renamed::by_path"})

    def test_name_of_no_test_is_refused_with_the_nearest(self):
        command = [ROOT / "tools" / "named_tests.py", "publishing_is_refused_until_space_is_fre3"]
        run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn("publishing_is_refused_until_space_is_free", run.stderr)


if __name__ == "__main__":
    unittest.main()
