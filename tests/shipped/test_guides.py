"""The commands of README.md and of guides, in the order in which a reader meets them."""

import contextlib
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

from guide import SERVES, Clone, blocks, commands, frames, labels, postgres, shape
from support import ROOT, free_port, gateway, process, until
from websocket import WebSocket, dial, request

# Values for names of arguments whose values are checked before the help is printed.
PLACEHOLDERS = {"ID": "77367f6800000100", "CHANNEL": "slack", "N": "17", "M": "29"}

# Commands that no test can run: their beginning, and why.
SKIPPED = {
    "sudo apt-get install": "it changes the machine, and tools/test installs the same",
    "tools/test": "it is the run that this test is part of",
}


class Reader:
    """Follows a guide: runs its commands, talks as in its conversations, and compares the output that it shows."""

    def __init__(self, test, clone, addresses, control):
        self.test, self.clone, self.addresses, self.control = test, clone, addresses, control
        self.served, self.output, self.skipped = None, "", set()

    def follow(self, path):
        self.test.addCleanup(self.stop)
        for block in blocks(path):
            self.where = f"{path.name}:{block.line}"
            text = "\n".join(block.lines)
            for documented, here in self.addresses.items():
                text = text.replace(documented, here)
            block.lines = text.splitlines()
            if block.is_conversation():
                self.talk(block)
            elif block.language in ("", "sh") and self.is_output(block):
                self.compare(block.lines)
            elif block.language in ("", "sh"):
                for command in commands(block):
                    self.run(command)
                if any(line.startswith("$ ") for line in block.lines):
                    self.compare([line for line in block.lines if not line.startswith("$ ")])

    def is_output(self, block):
        return block.lines[0].startswith("listening on ")

    def run(self, command):
        for start in SKIPPED:
            if command.startswith(start):
                self.skipped.add(start)
                return
        if found := re.fullmatch(r"sudo systemctl (start|stop) postgresql", command):
            self.control(found.group(1))
        elif SERVES.match(command):
            self.stop()
            self.serving = self.clone.serving(command)
            self.served, self.log = self.serving.__enter__()
            port = int(self.addresses["127.0.0.1:8080"].split(":")[1])
            try:
                until(f"{self.where}: {command} serves", lambda: self.is_well(port))
            except AssertionError as late:
                raise AssertionError(f"{late}\n{self.log.read_text(errors='replace')}") from None
        else:
            code, self.output = self.clone.run(command)
            # A diagnosis fails when it finds something.
            expected = (1, 3) if "doctor" in command else (0,)
            self.test.assertIn(code, expected, f"{self.where}: {command}: {self.output}")

    def is_well(self, port):
        """True once every dependency of the gateway was found to answer."""
        with dial(port) as stream:
            status, _, body = request(stream, "/health/dependencies", [("Host", f"127.0.0.1:{port}"), ("Connection", "close")])
            return status == 200 and b"unknown" not in body

    def stop(self):
        if self.served is not None:
            self.serving.__exit__(None, None, None)
            self.served = None

    def compare(self, lines):
        """Each line that the guide shows begins as one that was printed."""
        for label in labels(lines):
            if self.output:
                self.test.assertIn(label, self.output, self.where)
            else:
                # A gateway prints while we read.
                until(f"{self.where}: the gateway prints {label!r}", lambda: label in self.log.read_text())

    @staticmethod
    def comes_by_itself(answer, step):
        """True for what a slow gateway pushes besides, and for a state before the one that the guide shows."""
        if "status" in answer and "status" in step:
            return answer["status"]["level"] != step["status"]["level"]
        return any(kind in answer and kind not in step for kind in ("beat", "status"))

    def talk(self, block):
        client = None
        for sign, step in frames(block):
            if sign == ">":
                client.send(step)
            elif sign == "<":
                answer = client.receive()
                while self.comes_by_itself(answer, step):
                    answer = client.receive()
                self.test.assertEqual(shape(answer), shape(step), f"{self.where}: {answer}")
            elif found := re.match(r"python3 -m websockets ws://(127\.0\.0\.1:(\d+))/ws", step):
                stream = dial(int(found.group(2)))
                self.test.addCleanup(stream.close)
                client = WebSocket(stream, found.group(1), f"http://{found.group(1)}")
            else:
                self.run(step)


class GuidesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # PostgreSQL runs as another user.
        self.folder.chmod(0o755)

    def test_commands_of_the_readme_run_in_order(self):
        public, admin, api, database = (f"127.0.0.1:{free_port()}" for _ in range(4))
        addresses = {"127.0.0.1:8080": public, "127.0.0.1:8081": admin, "127.0.0.1:8082": api, "127.0.0.1:5432": database}
        settings = {"SEAWALL_SERVER_LISTEN": public, "SEAWALL_ADMIN_LISTEN": admin, "PGUSER": "postgres"}
        settings |= {"PGHOST": "127.0.0.1", "PGPORT": database.split(":")[1]}
        clone = Clone(self.folder, settings)
        with postgres(self.folder, int(database.split(":")[1])) as control:
            reader = Reader(self, clone, addresses, control)
            reader.follow(ROOT / "README.md")
            self.assertEqual(reader.skipped, set(SKIPPED), "a command is skipped that the guide does not have")
            reader.stop()

    def test_two_instances_of_the_readme_list_each_other(self):
        found = section(ROOT / "README.md", "Run two instances")
        serve, shows = found[:2], [block.lines for block in found[2:]]
        database, redis, *own = (free_port() for _ in range(6))
        documented = ("127.0.0.1:5432", "redis://127.0.0.1 ", "127.0.0.1:8090", "127.0.0.1:8091")
        here = (f"127.0.0.1:{database}", f"redis://127.0.0.1:{redis} ", *(f"127.0.0.1:{port}" for port in own[2:]))
        clone = Clone(self.folder, {"SEAWALL_SERVER_LISTEN": f"127.0.0.1:{own[0]}", "SEAWALL_ADMIN_LISTEN": f"127.0.0.1:{own[1]}"})
        (clone.bin / "seawall").symlink_to(gateway())
        with contextlib.ExitStack() as stack:
            stack.enter_context(postgres(self.folder, database))
            psql = f"psql -h 127.0.0.1 -p {database} -U postgres"
            setup = "-c \"CREATE ROLE seawall LOGIN PASSWORD 'change-me'\" -c 'CREATE DATABASE seawall OWNER seawall'"
            self.assertEqual(clone.run(f"{psql} {setup}")[0], 0)
            folders = [self.folder / name for name in ("redis", "gw-1", "gw-2")]
            for folder in folders:
                folder.mkdir()
            stack.enter_context(process(["redis-server", "--port", str(redis), "--save", ""], folders[0]))
            instances = []
            for block, folder in zip(serve, folders[1:]):
                script = "\n".join(commands(block)) + "\n"
                for address, ours in zip(documented, here):
                    script = script.replace(address, ours)
                script = re.sub(r"\bseawall(?= --listen|\n)", "exec seawall", script)
                instances.append(stack.enter_context(process(["bash", "-ec", script], folder, clone.settings)))
                until(f"{folder.name} serves", lambda: "listening on ws://" in (folder / "log").read_text())

            def is_shown(lines, says):
                code, output = clone.run(f"cd {folders[1]} && {lines[0].removeprefix('$ ')}")
                return code == 0 and says(output.splitlines()) == says(lines[1:])

            until("both are listed as in the guide", lambda: is_shown(shows[0], with_any_leader))
            instances[1].kill()
            until("the end of one is listed as in the guide", lambda: is_shown(shows[1], cluster_table))

    def test_recipes_of_the_token_guide_make_tokens_that_the_gateway_accepts(self):
        clone = Clone(self.folder, {})
        (clone.bin / "seawall").symlink_to(gateway())
        found = [block for block in blocks(ROOT / "docs" / "auth.md") if block.language == "sh"]
        (common,) = ["\n".join(block.lines) for block in found if block.lines[0].startswith("b64()")]
        accepted = set()
        for block in found:
            recipe = "\n".join(block.lines)
            key = re.search(r'(secret_file|public_key_file) = "(.+?)"', recipe)
            algorithm = re.search(r'"alg":"(\w+)"', recipe)
            if algorithm is None:
                continue
            code, output = clone.run(f"set -e\n{common}\n{recipe}")
            self.assertEqual(code, 0, f"auth.md:{block.line}: {output}")
            file = key.groups() if key else ("public_key_file", re.search(r"-pubout -out (\S+)", recipe).group(1))
            text = f'[[auth.keys]]\nalgorithm = "{algorithm.group(1)}"\n{file[0]} = "{file[1]}"\n'
            (clone.folder / "seawall.toml").write_text(text)
            (clone.folder / "token.txt").write_text(output.strip().splitlines()[-1])
            code, output = clone.run("chmod 600 token.secret; seawall token --check < token.txt")
            self.assertEqual(code, 0, f"auth.md:{block.line}: {output}")
            accepted.add(algorithm.group(1))
        self.assertLessEqual({"HS256", "RS256", "EdDSA"}, accepted)

    def test_first_commands_of_the_tls_guide_serve_https(self):
        port = free_port()
        clone = Clone(self.folder, {"SEAWALL_SERVER_LISTEN": f"127.0.0.1:{port}", "SEAWALL_ADMIN_LISTEN": "off"})
        (clone.bin / "seawall").symlink_to(gateway())
        first = next(block for block in blocks(ROOT / "docs" / "tls.md") if block.language == "")
        make, serve, ask = commands(first)
        self.assertEqual(clone.run(make)[0], 0, make)
        self.assertRegex(serve, SERVES)
        with clone.serving(serve):
            ask = ask.replace("localhost:8080", f"localhost:{port}")
            until(ask, lambda: clone.run(ask)[0] == 0)

    def test_configuration_of_the_hardening_page_is_accepted_without_a_warning(self):
        clone = Clone(self.folder, {})
        (clone.bin / "seawall").symlink_to(gateway())
        (page,) = [block for block in blocks(ROOT / "SECURITY.md") if block.language == "toml"]
        text = "\n".join(page.lines)
        etc = clone.folder / "etc"
        etc.mkdir()
        make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=chat.example.com -addext subjectAltName=DNS:chat.example.com"
        code, output = clone.run(f"{make} -keyout etc/tls.key -out etc/tls.crt")
        self.assertEqual(code, 0, output)
        for name, address in re.findall(r'url_file = "/etc/seawall/(.+?)"\s+# (\S+)', text):
            (etc / name).write_text(address)
        for file in etc.iterdir():
            file.chmod(0o640)
        (clone.folder / "seawall.toml").write_text(text.replace("/etc/seawall", str(etc)))
        code, output = clone.run("seawall check-config")
        self.assertEqual(code, 0, output)
        self.assertNotRegex(output.lower(), "warning:")

    def test_every_seawall_command_of_the_documentation_has_arguments_that_exist(self):
        checked = 0
        for path in sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]):
            for command, where in seawall_commands(path):
                words = shlex.split(re.sub(r"([|<>;&)#]|  ).*", "", command))[1:]
                arguments = [PLACEHOLDERS.get(word, word) for word in words]
                run = subprocess.run([gateway(), *arguments, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
                self.assertEqual(run.returncode, 0, f"{where}: {command}: {run.stderr}")
                checked += 1
        self.assertGreater(checked, 40)


def section(path, heading):
    """The blocks of a section of a guide."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"## {heading}") + 1
    last = next((number for number, line in enumerate(lines, 1) if number > first and line.startswith("## ")), len(lines))
    return [block for block in blocks(path) if first < block.line < last]


def cluster_table(lines):
    """What the table of instances says always: its columns, names and states, and its last line."""
    head, *rows, last = lines
    return head.split(), [row.replace(" *", "").split()[:2] for row in rows], last


def with_any_leader(lines):
    """The same, whichever leads: the one that started first may be slow to see that there is none."""
    head, rows, last = cluster_table(lines)
    return head, rows, re.sub(r"gw-\d leads", "one leads", last)


def seawall_commands(path):
    """The commands of the gateway in the blocks and in the code of the sentences of a guide, and where they are."""
    verbs = subprocess.run([gateway(), "--help"], capture_output=True, text=True).stdout.split("Commands:")[1].split("Options:")[0]
    verb = "|".join(sorted(set(re.findall(r"^  ([a-z][a-z-]+)", verbs, re.MULTILINE))))
    text = path.read_text(encoding="utf-8")
    for found in re.finditer(rf"(?:^|[`$#] |`|sudo |exec |\n)(seawall (?:--config \S+ |--data \S+ )*(?:{verb})\b[^`\n]*)", text):
        yield found.group(1), f"{path.name}:{text.count(chr(10), 0, found.start()) + 1}"


if __name__ == "__main__":
    unittest.main()
