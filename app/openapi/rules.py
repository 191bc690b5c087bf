"""The rule of a field in words, from its JSON schema: viewers of the document show fields of a form without rules."""

from __future__ import annotations

from app.openapi.fields import JsonSchema

# By what a schema has: the first that fits is the rule. A pattern is for machines; texts of fields explain it.
_SENTENCES = (
    ({"enum"}, "One of {choices}."),
    ({"minLength", "maxLength"}, "{minLength} to {maxLength} characters."),
    ({"exclusiveMinimum", "maximum"}, "Above {exclusiveMinimum}, up to {maximum}."),
    ({"minimum", "maximum", "multipleOf"}, "{minimum} to {maximum}, a multiple of {multipleOf}."),
    ({"minimum", "maximum"}, "{minimum} to {maximum}."),
)
_INT64_MAX = 2**63 - 1  # nobody reads its digits


def rule_of(schema: JsonSchema) -> str:
    """One or two sentences, such as "1 to 9. Default: 1."; empty for a schema without a rule."""
    if schema.get("maximum") == _INT64_MAX:
        return "A signed 64-bit integer."
    choices = ", ".join(f"`{choice}`" for choice in schema.get("enum", ()))
    found = [text.format(choices=choices, **schema) for needed, text in _SENTENCES if needed <= schema.keys()][:1]
    default = [f"Default: `{schema['default']}`."] if "default" in schema else []
    return " ".join(found + default)
