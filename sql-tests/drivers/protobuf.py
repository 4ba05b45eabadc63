"""Just enough of protobuf to send what a driver sends, and to read what it gets."""

PREFIX = "type.googleapis.com/arrow.flight.protocol.sql."


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number, value):
    """One field: a number or a truth value, text, or an encoded message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    encoded = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(encoded)) + encoded


def message(fields):
    """Fields by their numbers; a list is a repeated field, and None is left out."""
    listed = {number: value if isinstance(value, list) else [value] for number, value in fields.items()}
    return b"".join(field(number, value) for number, values in listed.items() for value in values if value is not None)


def any_message(name, body=b""):
    """A command or request of Flight SQL."""
    return message({1: PREFIX + name, 2: body})


def read_varint(encoded, start):
    number, shift = 0, 0
    while True:
        byte = encoded[start]
        number, shift, start = number | (byte & 0x7F) << shift, shift + 7, start + 1
        if byte < 0x80:
            return number, start


def parse(encoded):
    """The last value of each field, by its number: ours have numbers and bytes only."""
    fields, at = {}, 0
    while at < len(encoded):
        key, at = read_varint(encoded, at)
        value, at = read_varint(encoded, at)
        if key & 7 == 2:
            value, at = encoded[at : at + value], at + value
        fields[key >> 3] = value
    return fields
