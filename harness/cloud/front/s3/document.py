"""XML of S3, both ways: answers made of names and values, small requests read strictly."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree as ET

from aiohttp import web

from harness.cloud.front.refusal import ObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Value: TypeAlias = Any  # text, a number, a mapping of names to values, or a list of values


def answer(name: str, values: Mapping[str, Value]) -> web.Response:
    """200 with a document; a value of None is left out, a list repeats its element."""
    root = ET.Element(name, xmlns=NAMESPACE)
    _fill(root, values)
    body = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return web.Response(body=body, content_type="application/xml")


def _fill(element: ET.Element, values: Mapping[str, Value]) -> None:
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            child = ET.SubElement(element, name)
            if isinstance(one, dict):
                _fill(child, one)
            else:
                child.text = _NOT_XML.sub("\ufffd", str(one))


def read(body: bytes) -> ET.Element:
    """The root element, names without namespace. Raises `ObjectError`."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ObjectError(400, "MalformedXML", "A document type is not allowed.")
    try:
        root = ET.fromstring(body)
    except (ET.ParseError, ValueError, LookupError) as error:
        message = f"The XML you provided was not well-formed: {error}"
        raise ObjectError(400, "MalformedXML", message) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def iso(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_s)) + ".000Z"
