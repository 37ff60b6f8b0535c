"""Secrets in what the user gives: found by name and by form, kept in mind, and masked wherever text leaves.

A secret is known by the key that holds it (`api_key`), by its form (`hf_...`, `ghp_...`), as the password in an
address, or by the name of the environment variable it came from. `docs/privacy.md` has the rules in words.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import is_
from typing import Any

MASK = "***"
# Shorter ones are masked at their place in a tree only: in a text they would be parts of other words.
_SHORTEST_IN_TEXT = 6

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SURE_WORDS = frozenset({"password", "passwd", "passphrase", "secret", "credential", "credentials", "authorization"})
_KEYS_OF = frozenset({"api", "access", "private", "secret", "account", "subscription", "auth", "signing", "license"})
_TOKENS_OF = frozenset({"api", "access", "auth", "bearer", "refresh", "session", "id", "hf", "secret"})
_FORMS = re.compile(
    r"""
    \b(?: sk-[A-Za-z0-9_-]{16,} | (?:hf|gsk|r8)_[A-Za-z0-9]{16,} | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,}
      | glpat-[\w-]{16,} | xox[abprs]-[\w-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[\w-]{30,} | pypi-[\w-]{20,}
      | eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+ )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
# user:password@ and user-less :password@ in an address, and what a query or a header gives by a secret's name.
_IN_ADDRESS = re.compile(r"(?P<scheme>\b[A-Za-z][\w+.-]*://[^\s/:@'\"]*):(?P<secret>[^\s/@'\"]+)@")
_TOKEN_AS_USER = re.compile(r"(?P<scheme>\bhttps?://)(?P<secret>[^\s/:@'\"]{16,})@")
_IN_QUERY = re.compile(
    r"(?P<name>[?&;](?:[\w-]*[_-])?(?:api[_-]?key|key|token|secret|password|passwd|pwd|signature|sig|auth)=)"
    r"(?P<secret>[^\s&;#'\"]+)",
    re.IGNORECASE,
)
_IN_HEADER = re.compile(r"(?P<name>\b(?:Bearer|Authorization:\s*\w+)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})")

# Fingerprints, times and numbers: none of the forms is made of such characters alone.
_NO_FORM = re.compile(r"[0-9a-f.:+T-]*")

# What was found so far in this process, and what stands in its place: ${VAR} where it came from there.
_known: dict[str, str] = {}


@lru_cache(maxsize=1024)  # the keys of a manifest are few, and stand there for every stage
def names_a_secret(name: str) -> bool:
    """Say whether whatever stands under a key, or in a variable, of this name is a secret: `api_key`, `HF_TOKEN`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] == "env":  # `api_key_env` names a variable
        return False
    if any(word in _SURE_WORDS for word in words) or words[-1] in {"apikey", "pwd"}:
        return True
    of = words[-2] if len(words) > 1 else ""
    return (words[-1] in {"key", "keys"} and of in _KEYS_OF) or (words[-1] in {"token", "tokens"} and of in _TOKENS_OF)


def looks_random(text: str) -> bool:
    """Say whether a text is long and mixed enough to be a generated key: no word, name, path or number is."""
    has_both = re.search(r"[A-Za-z]", text) is not None and re.search(r"\d", text) is not None
    return has_both and re.fullmatch(r"[A-Za-z0-9_.~+=-]{16,}", text) is not None and len(set(text)) >= 8


def note_secret(secret: str, shown: str = MASK) -> None:
    """Keep a secret in mind, so that `masked_text` masks it, with what to show instead."""
    if len(secret) >= _SHORTEST_IN_TEXT:
        for written in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
            _known.setdefault(written, shown)


def note_variable(name: str, value: str) -> None:
    """Keep the value of an environment variable in mind if it is a secret."""
    if _variable_is_secret(name, value):
        note_secret(value, f"${{{name}}}")


def note_secrets(tree: Any, key: str = "") -> None:
    """Keep every secret in a tree of plain values in mind, also one in a variable that a key such as `x_env` names."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            note_secrets(value, str(name))
    elif isinstance(tree, list | tuple):
        for value in tree:
            note_secrets(value, key)
    elif isinstance(tree, str):
        if _is_secret(key, tree):
            note_secret(tree)
        elif key.endswith("_env") and os.environ.get(tree):
            note_secret(os.environ[tree], f"${{{tree}}}")
        for found in (*_IN_ADDRESS.finditer(tree), *_TOKEN_AS_USER.finditer(tree), *_IN_QUERY.finditer(tree)):
            note_secret(found["secret"])


def masked(tree: Any, key: str = "") -> Any:
    """Return a tree of plain values with every secret masked; the same tree if it holds none.

    What comes out depends on nothing but the tree and the names of the variables in it, so it may enter a fingerprint.
    """
    kind = type(tree)  # compared first, because a manifest has tens of values for each stage
    if kind is str:
        return _masked_string(tree, key)
    if kind is float or tree is None or kind is bool:
        return tree
    if kind is dict or isinstance(tree, Mapping):
        made = {name: masked(value, str(name)) for name, value in tree.items()}
        return tree if all(map(is_, made.values(), tree.values())) else made
    if kind is list or isinstance(tree, list | tuple):
        items = [masked(value, key) for value in tree]
        return tree if all(map(is_, items, tree)) else items
    if isinstance(tree, str):
        return _masked_string(tree, key)
    return MASK if names_a_secret(key) and isinstance(tree, int) and not isinstance(tree, bool) else tree


def _masked_string(tree: str, key: str) -> str:
    text = _without_known(tree, _known)
    if text != tree:
        return text
    return MASK if _is_secret(key, tree) else _without_forms(tree)


def apart(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide parameters into what may be kept, with secrets masked, and the entries that hold secrets, as given."""
    kept = {key: masked(value, key) for key, value in params.items()}
    return kept, {key: value for key, value in params.items() if kept[key] is not value}


def masked_text(text: str) -> str:
    """Return a text that may be shown or written: without the secrets of this process, its variables and addresses."""
    return masked_texts([text])[0]


def masked_texts(texts: Sequence[str]) -> list[str]:
    """Mask several texts, each as `masked_text` does; the environment is searched for secrets once."""
    variables = {
        value: f"${{{name}}}"
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST_IN_TEXT and _variable_is_secret(name, value)
    }
    known = {**variables, **_known}
    return [_without_forms(_without_known(text, known)) for text in texts]


def _is_secret(key: str, value: str) -> bool:
    is_named = names_a_secret(key)
    if not value or not (is_named or _last_word(key) in {"key", "token"}):
        return False
    return value != MASK and not re.fullmatch(r"\$\{\w+\}", value) and (is_named or looks_random(value))


@lru_cache(maxsize=1024)
def _last_word(key: str) -> str:
    words = _WORDS.findall(key)
    return words[-1].lower() if words else ""


def _variable_is_secret(name: str, value: str) -> bool:
    last = name.upper().rpartition("_")[2]
    is_named = names_a_secret(name) or last in {"KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PWD", "APIKEY"}
    # PWD alone is the working directory, and SSH_KEY, SSL_KEY and such often name a file.
    return is_named and name.upper() not in {"PWD", "OLDPWD"} and not value.startswith(("/", "~", "."))


def _without_known(text: str, known: Mapping[str, str]) -> str:
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, known[secret])
    return text


def _without_forms(text: str) -> str:
    if _NO_FORM.fullmatch(text):
        return text
    text = _FORMS.sub(MASK, text)
    text = _IN_ADDRESS.sub(rf"\g<scheme>:{MASK}@", text)
    text = _TOKEN_AS_USER.sub(rf"\g<scheme>{MASK}@", text)
    text = _IN_QUERY.sub(rf"\g<name>{MASK}", text)
    return _IN_HEADER.sub(rf"\g<name>{MASK}", text)
