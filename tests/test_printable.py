"""Names from outside that act on a screen are shown, and do nothing."""

import logging

from trazo.printable import printable
from trazo.progress import step


def test_what_acts_on_a_screen_is_replaced_and_all_else_stays():
    assert printable("cat \x1b]0;pwned\x07 \x00\x7f\x9b2J\r") == "cat �]0;pwned� ���2J�"
    assert printable("user\u202egnp.exe\u2066") == "user�gnp.exe�"
    assert printable("half \ud800") == "half �"
    for text in ("ñandú – 100 % <b> & 'x' \"y\"", "two\nlines\tand a tab", "عربي עברית 日本語 🐄", ""):
        assert printable(text) == text


def test_a_log_shows_no_escape_sequence(tmp_path, capsys):
    with step(tmp_path / "a.log", "images of 100%s"):
        logging.getLogger("trazo").info("class %s", "\x1b[2Jcat\ud800")
    assert (tmp_path / "a.log").read_text(encoding="utf-8").endswith("class �[2Jcat�\n")
    shown = capsys.readouterr().err
    assert "images of 100%s: class �[2Jcat�" in shown
    assert "\x1b[2J" not in shown
