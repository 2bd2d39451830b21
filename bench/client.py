"""client.py - fills a Redis server with values of text, reads and changes them at random, checks every byte, and shuts it down.

    client.py SOCKET TEXT_FILE VALUE_BYTES N_VALUES N_REQUESTS

Prints the seconds that all requests took. One request in five is a SET. Exit: 0; 1 a wrong answer.
"""

import mmap
import random
import socket
import sys
import time


class Server:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(300):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        self.received = bytearray(2**21)

    def send(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
        self.socket.sendall(b"".join(parts))

    def answer(self, n_bytes):
        view = memoryview(self.received)
        got = 0
        while got < n_bytes:
            n = self.socket.recv_into(view[got:n_bytes])
            if n == 0:
                sys.exit("client.py: the server has gone")
            got += n
        return view[:n_bytes]

    def set(self, key, value):
        self.send(b"SET", key, value)
        if self.answer(5) != b"+OK\r\n":
            sys.exit("client.py: SET was not answered with OK")

    def get(self, key, expected):
        self.send(b"GET", key)
        head = b"$%d\r\n" % len(expected)
        found = self.answer(len(head) + len(expected) + 2)
        if found[:len(head)] != head or found[len(head):-2] != expected:
            sys.exit(f"client.py: {key.decode()} does not hold what was set")


def main():
    path, text_path = sys.argv[1:3]
    value_bytes, n_values, n_requests = (int(word) for word in sys.argv[3:6])
    server = Server(path)
    draw = random.Random(1)
    with open(text_path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        places = [draw.randrange(len(text) - value_bytes) for _ in range(n_values)]
        start = time.perf_counter()
        for i, place in enumerate(places):
            server.set(b"key%d" % i, text[place:place + value_bytes])
        for request in range(n_requests):
            i = draw.randrange(n_values)
            if request % 5 == 4:
                places[i] = draw.randrange(len(text) - value_bytes)
                server.set(b"key%d" % i, text[places[i]:places[i] + value_bytes])
            else:
                server.get(b"key%d" % i, text[places[i]:places[i] + value_bytes])
        print(time.perf_counter() - start)
    server.send(b"SHUTDOWN", b"NOSAVE")
    server.socket.recv(1)  # until it has ended


if __name__ == "__main__":
    main()
