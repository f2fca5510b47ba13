"""The report in a real headless Chromium: no console message, no request, readable, searchable, safe."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier
from outsourcing_classifier.evaluation import compare, evaluate

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

BROWSER_OWN = {"clients2.google.com"}  # Chromium asks it for the time, whatever the page
ATTACK = "<script>parent.hacked=1;window.hacked=1</script><img src=x onerror=parent.hacked=1> Payroll processing"
LONG = "W" * 3000 + " market research " + "é" * 3000
DRIVER = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="margin:0">
<iframe id="f" src="report.html" style="border:0;width:1600px;height:900px"></iframe>
<pre id="out"></pre><script>
const out = {}, frame = document.getElementById('f');
const wait = ms => new Promise(done => setTimeout(done, ms));
frame.onload = async () => {
  const doc = frame.contentDocument, win = frame.contentWindow;
  const shown = () => [...doc.querySelectorAll('#list details')].filter(d => d.offsetHeight > 0).length;
  const overflow = () => doc.documentElement.scrollWidth - doc.documentElement.clientWidth;
  doc.querySelectorAll('details').forEach(d => d.open = true);
  for (const width of [1600, 320]) {
    frame.style.width = width + 'px'; await wait(300); out['overflow' + width] = overflow();
  }
  const heights = [...doc.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height);
  out.smallest = Math.min(...heights);
  doc.getElementById('close').click();
  out.all = shown();
  const q = doc.getElementById('q');
  const type = async text => { q.value = text; q.dispatchEvent(new win.Event('input')); await wait(400); };
  await type('NÒMINES'); out.accents = shown();
  await type('nomines zzz'); out.none = shown(); out.count = doc.getElementById('count').textContent;
  await type(''); out.again = shown();
  const kind = doc.getElementById('kind');
  kind.value = 'KPO BPO'; kind.dispatchEvent(new win.Event('change')); out.kind = shown();
  doc.getElementById('open').click();
  out.opened = [...doc.querySelectorAll('#list details')].filter(d => d.open).length;
  const controls = [...doc.querySelectorAll('summary, input, select, button, a[href], .scroll')];
  out.unfocusable = controls.filter(e => {
    e.focus(); return doc.activeElement !== e && e.offsetParent !== null; }).length;
  out.marks = doc.querySelectorAll('mark').length;
  out.scripts = doc.querySelectorAll('script').length; out.images = doc.querySelectorAll('img').length;
  out.hacked = !!(window.hacked || win.hacked);
  out.background = win.getComputedStyle(doc.body).backgroundColor;
  out.color = win.getComputedStyle(doc.body).color;
  document.getElementById('out').textContent = 'RESULT' + JSON.stringify(out) + 'END';
};
</script>"""


class Server(ThreadingHTTPServer):
    requests: list[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classifier = Classifier(fallback=None)
    rows = [
        {"description": ATTACK, "label": "KPO", "source": "<b>x</b>"},
        {"description": "Externalització de la gestió de nòmines", "label": "KPO", "source": "y"},
        {"description": LONG, "label": "BPO", "source": "z" * 300},
        {"description": "Supply of salt", "label": "NEITHER", "source": "y"},
        {"description": "Market research", "label": "KPO", "source": "y"},
    ]
    evaluation = evaluate(rows, source="source", classifier=classifier, name="a" * 60)
    assert len(evaluation.mistakes) == 3
    folder = tmp_path_factory.mktemp("browser")
    evaluation.report(folder / "report.html", compare(evaluation, evaluation))
    (folder / "driver.html").write_text(DRIVER, encoding="utf-8")
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Host"] not in BROWSER_OWN:
                asked.requests.append(f"{self.headers['Host']}{self.path}")
            path = folder / self.path.lstrip("/")
            found = path.is_file()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(path.read_bytes() if found else b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    asked = Server(("127.0.0.1", 0), Handler)
    asked.requests = []
    thread = threading.Thread(target=asked.serve_forever, daemon=True)
    thread.start()
    yield asked
    asked.shutdown()
    asked.server_close()
    thread.join()


def browse(server: Server, tmp_path: Path, *more: str, path: str = "driver.html") -> tuple[str, str]:
    """Chromium's (DOM, log). Whatever host it asks for, the server hears of it."""
    assert CHROMIUM is not None
    port = server.server_address[1]
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-features=NetworkTimeServiceQuerying,OptimizationHints,Translate",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--host-resolver-rules=MAP * 127.0.0.1:{port}",
        "--enable-logging=stderr",
        "--window-size=1600,1000",
        "--virtual-time-budget=20000",
        *more,
        f"http://report.test:{port}/{path}",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_in_a_browser(scheme: str, server: Server, tmp_path: Path) -> None:
    dom, log = browse(
        server, tmp_path, f"--blink-settings=preferredColorScheme={'01'[scheme == 'light']}", "--dump-dom"
    )
    found = re.search(r"RESULT(\{.*?\})END", dom)
    assert found, log[-2000:]
    out = json.loads(found.group(1).replace("&lt;", "<").replace("&amp;", "&"))
    assert "CONSOLE" not in log, log[-2000:]
    port = server.server_address[1]
    assert sorted(set(server.requests)) == [
        f"report.test:{port}/driver.html",
        f"report.test:{port}/report.html",
    ]
    assert out["overflow1600"] <= 0
    assert out["overflow320"] <= 0
    assert out["smallest"] >= 10
    assert (out["all"], out["accents"], out["none"], out["again"]) == (3, 1, 0, 3)
    assert out["count"] == "0 of 3 shown"
    assert (out["kind"], out["opened"], out["unfocusable"]) == (2, 2, 0)
    assert out["marks"] >= 3
    assert (out["scripts"], out["images"], out["hacked"]) == (1, 0, False)
    dark = sum(map(int, re.findall(r"\d+", out["background"])[:3])) < 200
    assert dark == (scheme == "dark")
    assert out["color"] != out["background"]


def test_the_net_catches_what_leaks(server: Server, folder: Path, tmp_path: Path) -> None:
    """The two alarms above ring: a console error, and a request to another host."""
    leak = "<img src='http://elsewhere.test/x.png'><script>console.error('heard')</script>"
    (folder / "leak.html").write_text(leak, encoding="utf-8")
    _, log = browse(server, tmp_path, "--dump-dom", path="leak.html")
    assert "CONSOLE" in log
    assert any("elsewhere.test" in r for r in server.requests)


@pytest.mark.parametrize("width", [500, 1600])  # 500 is the narrowest window; 320 is tried in a frame above
def test_screenshots(width: int, server: Server, tmp_path: Path) -> None:
    shots = []
    for scheme in ("0", "1"):
        shot = tmp_path / f"{scheme}.png"
        more = (f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}")
        browse(server, tmp_path / scheme, *more, f"--window-size={width},1200", path="report.html")
        shots.append(shot.read_bytes())
    assert all(len(s) > 20_000 for s in shots)
    assert shots[0] != shots[1]
