"""Reads a CPIX document with the package `cpix`, checks it against the schema, and prints what it holds as JSON."""
import base64
import json
import os
import sys

import cpix
from lxml import etree

document = open(sys.argv[1], "rb").read()
# The schema of this version of CPIX lets a period be named once only (Dash-Industry-Forum/CPIX issue 76, put right since).
schema = etree.parse(os.path.join(os.path.dirname(cpix.__file__), "schema", "cpix.xsd"))
for attribute in schema.iter("{http://www.w3.org/2001/XMLSchema}attribute"):
    if attribute.get("name") == "periodId":
        attribute.set("type", "xs:IDREF")
etree.XMLSchema(schema).assertValid(etree.fromstring(document))
read = cpix.parse(document)
good, errors = read.validate_content()
assert good, errors
periods = {period.id: period.index for period in read.periods}
keys = {str(key.kid): base64.b64decode(key.cek).hex() for key in read.content_keys}
rules = [
    {
        "kid": str(rule.kid).replace("-", ""),
        "track": rule.intended_track_type,
        "period": [periods[one.period_id] for one in rule if isinstance(one, cpix.KeyPeriodFilter)],
        "key": keys[str(rule.kid)],
    }
    for rule in read.usage_rules
]
boxes = {str(system.kid).replace("-", ""): system.pssh for system in read.drm_systems}
print(json.dumps({"content": read.content_id, "rules": rules, "boxes": boxes}))
