"""The tools that run the tests: a check that checks nothing fails."""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest

from support import ROOT, tool

sys.path.insert(0, str(ROOT / "tools"))


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


class HalvesTest(unittest.TestCase):
    runner = tool("side_by_side.py")

    def test_test_of_the_last_target_is_in_one_half(self):
        # The rule of Rust's test runner.
        def selected(job, names):
            skips = [word.removeprefix("--skip=") for word in job.command if word.startswith("--skip=")]
            words = [word for word in job.command[1:] if not word.startswith("--skip=")]
            return [name for name in names if (not words or any(word in name for word in words)) and not any(word in name for word in skips)]

        early, rest = self.runner.halves(self.runner.Job("servers", ["servers"], ROOT, {}))
        names = ["auth_service::a", "bus::cluster::b", "cluster::c", "dependencies::d", "postgres::e", "tests::f", "tests::bus::g"]
        self.assertEqual(selected(early, names), ["auth_service::a", "bus::cluster::b", "cluster::c", "tests::bus::g"])
        self.assertEqual(selected(rest, names), ["dependencies::d", "postgres::e", "tests::f"])

    def test_modules_that_run_early_exist(self):
        target = (ROOT / f"tests/{self.runner.LAST}/main.rs").read_text()
        for module in self.runner.EARLY_OF_LAST:
            self.assertIn(f"\nmod {module.removesuffix('::')};", target)


def failed(*sections, passed=1):
    """What a Rust target prints of these failed tests: of each its name and the messages of its panics."""
    lines = [f"running {passed + len(sections)} tests", "", "failures:", ""]
    for name, *messages in sections:
        lines.append(f"---- {name} stdout ----")
        for message in messages:
            lines += ["", f"thread '{name}' (17) panicked at tests/it.rs:3:5:", message, "the log of a server", "stack backtrace:", "   0: it"]
        lines.append("")
    lines += ["", "failures:", *(f"    {name}" for name, *_ in sections), ""]
    return "\n".join([*lines, f"test result: FAILED. {passed} passed; {len(sections)} failed; 0 ignored; finished in 1.00s", ""])


class LateTest(unittest.TestCase):
    late = tool("late.py")
    LATE = ("a::late", "not in time: the answer, after 30s")
    WRONG = ("a::wrong", "assertion `left == right` failed: the answer is not in")
    PASSED = "test result: ok. 1 passed; 0 failed; 0 ignored"

    def again(self, text, *results):
        """The lines about the tests that ran again, and their names. `results` are the statuses and outputs of their second runs."""
        names, results = [], iter(results)

        def run(name):
            names.append(name)
            return next(results)

        with contextlib.redirect_stdout(io.StringIO()):
            return self.late.again(text, run), names

    def test_late_test_runs_again_and_is_named(self):
        lines, names = self.again(failed(self.LATE), (0, self.PASSED))
        self.assertEqual((lines, names), (["late once: a::late (not in time: the answer, after 30s)"], ["a::late"]))

    def test_panics_that_only_follow_from_a_late_thread_do_not_count(self):
        join = "called `Result::unwrap()` on an `Err` value: Any { .. }"
        for text in (failed((*self.LATE, join)), failed((*self.LATE, "a scoped thread panicked")), failed(("a", "an answer: Timeout"))):
            self.assertEqual(len(self.again(text, (0, self.PASSED))[0]), 1, text)

    def test_time_limit_of_a_call_of_the_store_is_late(self):
        cause = 'CallFault { fate: Unknown, cause: Cause { fault: Timeout, text: "no answer to a statement within 2800 ms" } }'
        self.assertEqual(len(self.again(failed(("a", f"it commits: {cause}")), (0, self.PASSED))[0]), 1)
        lost = cause.replace("no answer to a statement within 2800 ms", "the connection was lost")
        for message in (f"it commits: {lost}", "the log has `no answer to a statement within 2800 ms`"):
            self.assertEqual(self.again(failed(("a", message))), ([], []), message)

    def test_what_was_wrong_never_runs_again(self):
        late, wrong = self.LATE[1], self.WRONG[1]
        for text in (
            failed(self.WRONG),
            failed(self.LATE, self.WRONG),
            failed(("a", wrong, late)),
            # The words are elsewhere than in the message.
            failed(("a", f"{wrong}\nnot in time: a line of a log")),
            failed(("a",)),
            # Its rows ran again.
            failed(("matrix", late)).replace("---- matrix stdout ----", "---- matrix stdout ----\na row: once more, alone"),
            # It crashed, or its output has two results.
            failed(self.LATE).partition("\ntest result")[0],
            failed(self.LATE) + failed(self.LATE),
            # One failed test says nothing.
            failed(self.LATE).replace("1 failed", "2 failed"),
            "",
        ):
            self.assertEqual(self.again(text), ([], []), text)

    def test_second_run_must_pass_and_run_the_test(self):
        for result in ((101, failed(self.LATE, passed=0)), (0, "test result: ok. 0 passed; 0 failed"), (-6, self.PASSED)):
            self.assertEqual(self.again(failed(self.LATE), result), ([], ["a::late"]), result)

    def test_more_late_tests_than_a_busy_machine_explains_fail(self):
        late = [(f"late_{n}", "not in time: it") for n in range(4)]
        self.assertEqual(len(self.again(failed(*late[:3]), *[(0, self.PASSED)] * 3)[0]), 3)
        self.assertEqual(self.again(failed(*late)), ([], []))

    def test_target_whose_only_failure_was_late_passes_and_is_reported(self):
        runner = tool("side_by_side.py")
        text = failed(self.LATE)
        script = f"import sys; late = '--exact' not in sys.argv; print({text!r} if late else {self.PASSED!r}); sys.exit(101 * late)"
        with contextlib.redirect_stdout(io.StringIO()) as output:
            job = runner.Job("target", [sys.executable, "-c", script], ROOT, {}).run()
            runner.report_late([job])
        self.assertIn("ok, 1 late once", output.getvalue())
        self.assertIn("passed once more alone: 1\n    late once: target: a::late (not in time", output.getvalue())

    def test_script_runs_the_late_tests_of_cargo_again(self):
        with tempfile.TemporaryDirectory() as folder:
            cargo = pathlib.Path(folder, "cargo")
            cargo.write_text(
                f"#!{sys.executable}\nimport sys\nlate = '--exact' not in sys.argv\n"
                f"print(sys.argv[1:]); print({failed(self.LATE)!r} if late else {self.PASSED!r}); sys.exit(101 * late)\n"
            )
            cargo.chmod(0o755)
            command = [sys.executable, ROOT / "tools/late.py", cargo, "test", "--", "--test-threads=1", "a"]
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        self.assertEqual(ended.returncode, 0, ended.stdout)
        self.assertIn("['test', '--', '--test-threads=1', 'a']", ended.stdout)
        self.assertIn("['test', '--', '--test-threads=1', '--exact', 'a::late']", ended.stdout)
        self.assertIn("\nlate once: a::late", ended.stdout)


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
