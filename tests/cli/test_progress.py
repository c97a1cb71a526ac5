"""What takes long moves on a terminal, and says nothing elsewhere."""

import os
import pty
import subprocess
import sys

CODE = "from cli.progress import doing\nwith doing('Compiling'):\n    print('done')"


def on_terminal(code: str) -> str:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=follower, env=environment):
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # Linux's way to say that the other side is closed
                break
            shown += part
    os.close(leader)
    return shown.decode()


def test_a_bar_on_a_terminal():
    shown = on_terminal(CODE)
    assert "Compiling" in shown
    assert "0:00:0" in shown


def test_without_a_terminal_nothing_is_shown():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_name_is_shown_as_it_is():
    assert "Reading [/x].pth" in on_terminal(CODE.replace("Compiling", "Reading [/x].pth"))
