"""What is on the wire, beside what boto3 makes of it: every element of an answer must be one that
AWS's own description of the API names, written as that type is written, and must arrive in Python as
that type. boto3 alone would pass over an element that it does not know.

Used by the judges beside it; starts and ends nothing."""

import datetime
import re
import xml.etree.ElementTree as xml

WRITTEN = {
    "integer": r"-?\d+",
    "long": r"-?\d+",
    "boolean": r"true|false",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z",
    "string": r".*",
}
READ = {
    "integer": int,
    "long": int,
    "boolean": bool,
    "timestamp": datetime.datetime,
    "string": str,
}
# EC2 answers this where its description has no answer at all.
UNDESCRIBED = {"return"}


class Watch:
    """Checks every answer that a client gets; counts what it has checked."""

    def __init__(self, client):
        self.calls = 0
        self.leaves = 0
        self.types = set()
        self.model = client.meta.service_model
        service = self.model.service_id.hyphenize()
        client.meta.events.register(f"response-received.{service}.*", self.received)

    def received(self, event_name, response_dict, parsed_response, **_):
        if response_dict is None or response_dict["status_code"] != 200:
            return
        action = event_name.rsplit(".", 1)[1]
        root = xml.fromstring(response_dict["body"])
        space = self.model.metadata["xmlNamespace"].rstrip("/")
        assert root.tag.replace("/}", "}") == f"{{{space}}}{action}Response", root.tag
        operation = self.model.operation_model(action)
        body, meta = list(root), "requestId"
        if self.model.metadata["protocol"] == "query":
            meta = "ResponseMetadata"
            body = [child for child in body if name(child) == meta] + list(
                child for part in body if name(part) == f"{action}Result" for child in part
            )
        assert any(name(child) == meta for child in body), f"{action} has no {meta}"
        body = [child for child in body if name(child) != meta]
        if operation.output_shape is None:
            assert {name(child) for child in body} <= UNDESCRIBED, action
        else:
            body = [child for child in body if name(child) not in UNDESCRIBED - wires(operation.output_shape)]
            self.structure(operation.output_shape, body, parsed_response, action)
        self.calls += 1

    def structure(self, shape, elements, value, where):
        members = {wire(key, member): (key, member) for key, member in shape.members.items()}
        for element in elements:
            known = members.get(name(element))
            assert known, f"{where}: the API has no element {name(element)}; it has {sorted(members)}"
            key, member = known
            assert key in value, f"{where}.{key} is lost"
            self.check(member, element, value[key], f"{where}.{key}")

    def check(self, shape, element, value, where):
        if shape.type_name == "structure":
            self.structure(shape, list(element), value, where)
        elif shape.type_name == "list":
            item = shape.member.serialization.get("name", "member")
            assert all(name(child) == item for child in element), f"{where}: a list of {item}"
            assert len(element) == len(value), where
            for number, (child, one) in enumerate(zip(element, value)):
                self.check(shape.member, child, one, f"{where}[{number}]")
        else:
            self.leaf(shape, element, value, where)

    def leaf(self, shape, element, value, where):
        kind, text = shape.type_name, element.text or ""
        assert re.fullmatch(WRITTEN[kind], text, re.DOTALL), f"{where}: {text!r} is no {kind}"
        assert type(value) is READ[kind], f"{where}: {value!r} is a {type(value)}, not a {kind}"
        if shape.type_name == "string" and getattr(shape, "enum", None) and text:
            assert text in shape.enum, f"{where}: {text!r} is none of {shape.enum}"
        self.leaves += 1
        self.types.add(kind)


def name(element):
    """The element's name without its namespace."""
    return element.tag.rsplit("}", 1)[-1]


def wire(key, shape):
    """What a member is called on the wire."""
    return shape.serialization.get("name", key)


def wires(shape):
    """What the members of a structure are called on the wire."""
    return {wire(key, member) for key, member in shape.members.items()}
