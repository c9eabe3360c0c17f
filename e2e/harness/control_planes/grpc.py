"""Services of Envoy's API by gRPC, with messages that are put together by hand."""

import socket
import threading
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events


class Service:
    """Answers each message of each call with what `answer` makes of it."""

    def __init__(self, address: tuple[str, int], answer: Callable[[bytes], bytes]):
        self._answer = answer
        self._server = socket.create_server(address)
        self.address = self._server.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        # Else the thread that accepts would keep it open.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        protocol.initiate_connection()
        received: dict[int, bytes] = {}
        with connection:
            connection.sendall(protocol.data_to_send())
            while data := connection.recv(65536):
                for event in protocol.receive_data(data):
                    match event:
                        case h2.events.RequestReceived():
                            received[event.stream_id] = b""
                            head = [(":status", "200"), ("content-type", "application/grpc")]
                            protocol.send_headers(event.stream_id, head)
                        case h2.events.DataReceived():
                            protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                            messages, rest = _messages(received[event.stream_id] + event.data)
                            received[event.stream_id] = rest
                            for message in messages:
                                protocol.send_data(event.stream_id, _framed(self._answer(message)))
                        case h2.events.StreamEnded():
                            protocol.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
                connection.sendall(protocol.data_to_send())


def _messages(data: bytes) -> tuple[list[bytes], bytes]:
    """Splits the data of a gRPC stream into its complete messages and an incomplete rest."""
    found = []
    while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
        found.append(data[5:end])
        data = data[end:]
    return found, data


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def fields(message: bytes, number: int) -> list[bytes | int]:
    """The values of a field: bytes, or numbers where it is a `varint`."""
    found, at = [], 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if tag & 7 == 2:
            value, at = message[at : at + value], at + value
        if tag >> 3 == number:
            found.append(value)
    return found


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return number, at
