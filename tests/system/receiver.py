"""A receiver of webhooks: HTTPS with the certificate of its first argument and the key of its second; writes what came, a line each, to its third.

Every seventh request is refused, each event at most once, so that attempts are made again.
"""
import http.server
import ssl
import sys

certificate, key, told = sys.argv[1:]
count = 0
refused = set()


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global count
        count += 1
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        event = self.headers["webhook-id"]
        good = count % 7 != 0 or event in refused
        if good:
            out.write(f"{event} {body}\n")
            out.flush()
        else:
            refused.add(event)
        self.send_response(204 if good else 500)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


out = open(told, "a")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
