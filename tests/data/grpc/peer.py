"""A site server and a client of gRPC, by its own library; messages are octets as they are.

peer.py server           serves on a free port, prints it, ends with its standard input
peer.py client HOST:PORT CERTIFICATE   makes calls of every shape, prints what came of them
"""

import sys
import threading
import time
from concurrent import futures

import grpc


def say(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-begun", metadata.get("x-asked", "")),))
    context.set_trailing_metadata((("x-ended", "yes"), ("x-octets-bin", bytes(range(256)))))
    return request[::-1]


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def collect(requests, context):
    return b"+".join(requests)


def chat(requests, context):
    for request in requests:
        yield b"you said " + request


def find(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "there is no " + request.decode() + " \u00e9")


def wait(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)
    WAITS.append(time.time())
    return b""


def waits(request, context):
    return str(len(WAITS)).encode()


WAITS = []
METHODS = {
    "Say": grpc.unary_unary_rpc_method_handler(say),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Find": grpc.unary_unary_rpc_method_handler(find),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Waits": grpc.unary_unary_rpc_method_handler(waits),
}


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


def code_of(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error.code().name, error.details()


def ask(address, certificate):
    credentials = grpc.ssl_channel_credentials(open(certificate, "rb").read())
    options = [("grpc.ssl_target_name_override", "a.test")]
    with grpc.secure_channel(address, credentials, options) as channel:
        method = {
            name: getattr(channel, kind)("/test.Echo/" + name)
            for name, kind in (
                ("Say", "unary_unary"),
                ("Count", "unary_stream"),
                ("Collect", "stream_unary"),
                ("Chat", "stream_stream"),
                ("Find", "unary_unary"),
                ("Wait", "unary_unary"),
                ("Waits", "unary_unary"),
                ("Nothing", "unary_unary"),
            )
        }
        answer, call = method["Say"].with_call(b"hello", metadata=(("x-asked", "me"),), timeout=20)
        begun = dict(call.initial_metadata())["x-begun"]
        ended = dict(call.trailing_metadata())
        print("unary", answer.decode(), begun, ended["x-ended"], ended["x-octets-bin"] == bytes(range(256)))
        print("server stream", b",".join(method["Count"](b"5", timeout=20)).decode())
        print("client stream", method["Collect"](iter([b"a", b"b", b"c"]), timeout=20).decode())
        turn = threading.Semaphore(1)

        def turns():
            for number in range(3):
                turn.acquire()
                yield str(number).encode()

        said = []
        for answer in method["Chat"](turns(), timeout=20):
            said.append(answer.decode())
            turn.release()
        print("both", ",".join(said))
        print("not found", *code_of(lambda: method["Find"](b"cat", timeout=20)))
        print("no method", code_of(lambda: method["Nothing"](b"", timeout=20))[0])
        print("deadline", code_of(lambda: method["Wait"](b"", timeout=0.5))[0])
        waiting = method["Wait"].future(b"", timeout=20)
        time.sleep(0.2)
        waiting.cancel()
        for _ in range(200):
            if method["Waits"](b"", timeout=20) == b"2":
                break
            time.sleep(0.05)
        print("given up", method["Waits"](b"", timeout=20).decode())
        calls = [method["Say"].future(b"x" * number, timeout=30) for number in range(300)]
        print("many", sum(call.result() == b"x" * number for number, call in enumerate(calls)))
        large = bytes(range(256)) * 8000
        print("large", method["Say"](large, timeout=30) == large[::-1])


if sys.argv[1] == "server":
    serve()
else:
    ask(sys.argv[2], sys.argv[3])
