"""Debian's chromium without a window, driven over the DevTools protocol (chromedevtools.github.io) by the standard
library alone: a page from a file, JavaScript in it, keys and pointers, its pictures."""
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

WAIT = 60  # seconds


def find():
    """The browser's path, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Socket:
    """A client of WebSocket (RFC 6455), for texts."""

    def __init__(self, url):
        host, _, path = url.removeprefix("ws://").partition("/")
        name, port = host.split(":")
        self.socket = socket.create_connection((name, int(port)), WAIT)
        self.socket.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                            "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert b" 101 " in head.splitlines()[0], head

    def fill(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the browser went away")
        self.buffer += data

    def take(self, size):
        while len(self.buffer) < size:
            self.fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def send(self, text):
        data, mask = text.encode(), b"\0\0\0\0"  # a mask of zeros changes nothing
        size = len(data)
        length = struct.pack(">BQ", 255, size) if size > 125 else bytes([size | 128])
        self.socket.sendall(b"\x81" + length + mask + data)

    def receive(self):
        text, last = b"", False
        while not last:
            first, size = self.take(2)
            last = first & 128
            if size == 126:
                size, = struct.unpack(">H", self.take(2))
            elif size == 127:
                size, = struct.unpack(">Q", self.take(8))
            data = self.take(size)
            if first & 15 in (0, 1):
                text += data
        return text.decode()


class Browser:
    """A page of the given size; `errors` are what its console and its scripts complained of."""

    def __init__(self, width=1280, height=800):
        self.profile = tempfile.mkdtemp(prefix="spatrack-chromium-")
        self.process = subprocess.Popen(
            [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
             "--enable-unsafe-swiftshader", "--no-first-run", "--disable-background-networking", "--disable-extensions",
             "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={self.profile}",
             "--remote-debugging-port=0", f"--window-size={width},{height}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
            errors="replace",
            start_new_session=True, env={**os.environ, "HOME": self.profile})
        self.errors, self.requests, self.count = [], [], 0
        try:
            port = self.port()
            self.socket = Socket(self.page(port))
        except BaseException:
            self.close()
            raise
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.resize(width, height)

    def port(self):
        for line in self.process.stderr:
            if "DevTools listening on" in line:
                return int(line.rsplit(":", 1)[1].split("/")[0])
        raise ConnectionError("the browser did not start")

    @staticmethod
    def page(port):
        """The address of the first page's socket."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        connection.request("GET", "/json/list")
        pages = json.loads(connection.getresponse().read())
        connection.close()
        return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")

    def next_message(self):
        message = json.loads(self.socket.receive())
        method, what = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(what["exceptionDetails"].get("exception", {}).get("description", str(what)))
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.errors.append(str([a.get("value", a.get("description")) for a in what["args"]]))
        elif (method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning")
              and "GL Driver Message" not in what["entry"]["text"]):  # that pictures of it are slow
            self.errors.append(what["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        return message

    def call(self, method, **arguments):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": arguments}))
        while (message := self.next_message()).get("id") != self.count:
            pass
        assert "error" not in message, (method, message["error"])
        return message["result"]

    def evaluate(self, expression):
        """The value of an expression of JavaScript; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                           userGesture=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"].get("exception", {}).get("description", str(result)))
        return result["result"].get("value")

    def wait(self, expression):
        end = time.monotonic() + WAIT
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"{expression} has not come true; {self.errors}"
            time.sleep(0.05)

    def open(self, path, address=""):
        """A page of the viewer from a file, and waits until it is drawn."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"file://{path}{address}")
        self.wait("document.body && document.body.dataset.state === 'ready'")
        self.settle()

    def settle(self):
        """Until what was asked for is on the screen."""
        for _ in range(3):
            self.evaluate("new Promise(requestAnimationFrame)")

    def resize(self, width, height, ratio=1, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio,
                  mobile=mobile)

    def screenshot(self):
        """PNG of the page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def key(self, key, shift=False):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0,
                      **({"text": key} if len(key) == 1 and kind == "keyDown" else {}))
        self.settle()

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start, end, **more):
        more = {"button": "left", "buttons": 1, "clickCount": 1, **more}
        self.mouse("mousePressed", *start, **more)
        for i in range(1, 5):
            self.mouse("mouseMoved", *(a + (b - a) * i / 4 for a, b in zip(start, end)), **more)
        self.mouse("mouseReleased", *end, **{**more, "buttons": 0})
        self.settle()

    def touch(self, kind, *points):
        self.call("Input.dispatchTouchEvent", type=kind,
                  touchPoints=[{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)])

    def close(self):
        """Ends the browser with its processes, and removes what it wrote."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stderr.close()
        shutil.rmtree(self.profile, ignore_errors=True)
