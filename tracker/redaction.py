"""Secrets taken out of what is recorded, before anything is hashed: history does not forget.

Knows the shapes of credentials and the names they go by; it never guesses by randomness, since hashes, ids and encoded
arrays are what a training prints all day. Artifacts are the user's own files and are not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

_MARK: Final = "[redacted {}]"
_KEY_LINES: Final = 200  # of a private key, at most: a line that only looks like its beginning hides no more

# Credentials that are known wherever they stand, as their makers document them: what it is, one of the texts that must
# be there (in lower case), and the shape. A shape is compiled when its text is first met: all of them take 30 ms.
_SHAPES: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    (
        "private key",
        ("-----begin",),
        (
            r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
            r"(?:-----END (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
    ),
    ("private key", ("age-secret-key",), r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
    ("aws key", ("akia", "asia", "abia", "acca"), r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("github token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    ("github token", ("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{36,255}\b"),
    (
        "gitlab token",
        ("glpat-", "gldt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glrt-", "glsoat-"),
        r"\bgl(?:pat|dt|cbt|ptt|ft|imt|agent|oas|rt|soat)-[A-Za-z0-9_\-]{20,255}",
    ),
    ("slack token", ("xox",), r"\bxox[abeoprs](?:\.xox[a-z])?-[A-Za-z0-9\-]{10,255}"),
    ("slack token", ("xapp-",), r"\bxapp-\d-[A-Za-z0-9\-]{10,255}"),
    (
        "webhook",
        ("hooks.slack.com/",),
        r"(?<=hooks\.slack\.com/)(?:services|workflows)/[A-Za-z0-9+/]{20,255}",
    ),
    ("webhook", ("/api/webhooks/",), r"(?<=/api/webhooks/)\d{16,20}/[A-Za-z0-9_\-]{60,90}"),
    ("telegram token", (":aa",), r"\b\d{8,10}:AA[A-Za-z0-9_\-]{33}\b"),
    # OpenAI, Anthropic, OpenRouter and others
    ("api key", ("sk-",), r"\bsk-(?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{20,255}"),
    (
        "api key",
        ("gsk_", "npm_", "hrku-", "figd_", "sntrys_", "ntn_", "r8_"),
        r"\b(?:gsk|npm|HRKU|figd|sntrys|ntn|r8)[_\-](?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-+/=]{30,255}",
    ),
    ("api key", ("pplx-", "xai-"), r"\b(?:pplx|xai)-[A-Za-z0-9]{40,90}\b"),
    ("hugging face token", ("hf_", "api_org_"), r"\b(?:hf_|api_org_)[A-Za-z0-9]{30,64}\b"),
    ("google key", ("aiza",), r"\bAIza[0-9A-Za-z_\-]{35}(?![0-9A-Za-z_\-])"),
    ("google key", ("gocspx-",), r"\bGOCSPX-[0-9A-Za-z_\-]{28}(?![0-9A-Za-z_\-])"),
    ("google token", ("ya29.",), r"\bya29\.[0-9A-Za-z_\-]{20,512}"),
    ("google token", ("1//0",), r"\b1//0[0-9A-Za-z_\-]{30,255}"),
    ("stripe key", ("k_live_", "k_test_"), r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,255}\b"),
    ("stripe key", ("whsec_",), r"\bwhsec_[0-9A-Za-z+/=]{30,255}"),
    ("sendgrid key", ("sg.",), r"\bSG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{30,64}"),
    ("twilio key", ("sk",), r"\bSK[0-9a-f]{32}\b"),
    ("mailgun key", ("key-",), r"\bkey-[0-9a-f]{32}\b"),
    ("mailchimp key", ("-us",), r"\b[0-9a-f]{32}-us\d{1,2}\b"),
    ("pypi token", ("pypi-",), r"\bpypi-[A-Za-z0-9_\-]{50,512}"),
    ("digitalocean token", ("_v1_",), r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    ("shopify token", ("shpat_", "shpca_", "shppa_", "shpss_"), r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    ("square token", ("sq0",), r"\bsq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,64}"),
    ("databricks token", ("dapi",), r"\bdapi[0-9a-f]{32}(?:-\d)?\b"),
    ("grafana token", ("glsa_",), r"\bglsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}\b"),
    ("grafana token", ("glc_",), r"\bglc_[A-Za-z0-9+/=]{32,400}"),
    ("new relic key", ("nrak-",), r"\bNRAK-[A-Z0-9]{27}\b"),
    ("linear key", ("lin_api_",), r"\blin_api_[A-Za-z0-9]{32,48}\b"),
    ("postman key", ("pmak-",), r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b"),
    ("docker token", ("dckr_",), r"\bdckr_(?:pat|oat)_[A-Za-z0-9_\-]{20,64}"),
    ("vault token", ("hvs.", "hvb.", "hvr."), r"\bhv[sbr]\.[A-Za-z0-9_\-]{24,255}"),
    ("terraform token", (".atlasv1.",), r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,70}"),
    ("doppler token", ("dp.",), r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._\-]{40,64}"),
    (
        "json web token",
        ("eyj",),
        r"\beyJ[A-Za-z0-9_\-]{8,4096}\.eyJ[A-Za-z0-9_\-]{8,8192}\.[A-Za-z0-9_\-]{8,1024}",
    ),
    ("password", ("://",), r"(?<=://)(?P<kept>[^\s:/@?#'\"]{0,256}:)[^\s/?#'\"]{1,512}(?=@)"),
    ("token", ("://",), r"(?<=://)[^\s:/@?#'\"]{20,512}(?=@)"),
    (
        "authorization",
        ("authorization",),
        r"(?i:(?P<kept>\bauthorization['\"]?\s{0,4}[:=]\s{0,4}['\"]?(?:[a-z\-]{2,16}[ \t]+)?))[^\s'\",]{6,4096}",
    ),
    (
        "token",
        ("bearer", "basic"),
        r"(?i:(?P<kept>\b(?:bearer|basic)[ \t]+))(?=[^\s'\"]{0,4096}[\d=])[A-Za-z0-9._~+/\-]{12,4096}={0,2}",
    ),
    (
        "secret",
        ("://",),
        (
            r"(?i:(?P<kept>[?&;](?:[a-z0-9]{1,16}[_\-]){0,3}(?:sig|signature|token|api_?key|key|secret|passw(?:or)?d|pwd|auth"
            r"|credential)=))(?=[^\s&?#'\"<>]{0,256}\d)[^\s&?#'\"<>]{6,4096}"
        ),
    ),
    (
        "password",
        ("machine",),
        r"(?P<kept>\bmachine\s{1,8}\S{1,256}\s{1,8}login\s{1,8}\S{1,256}\s{1,8}password\s{1,8})\S{1,512}",
    ),
)

# Names whose value is a secret whatever it looks like, as the last words of a name; and those whose value must look
# like one, since models have tokens.
_CERTAIN: Final = (
    r"pass[_\-. ]?w(?:or)?d|pass[_\-. ]?phrase|pwd|secrets?|credentials?|authorization|sas|connection[_\-. ]?string"
    r"|(?:api|access|secret|account|private|encryption|signing|license|subscription|master|auth)[_\-. ]?key"
    r"|access[_\-. ]?key[_\-. ]?id"
    r"|(?:auth|access|api|refresh|session|bearer|id|security|private|deploy|bot|login|hub|personal|service)"
    r"[_\-. ]?token"
)
_POSSIBLE: Final = r"token|auth|signature|sig|dsn|cookie"
_WORDS: Final = (
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "sas",
    "string",
    "auth",
    "sig",
    "dsn",
    "cookie",
)
_NAME: Final = rf"(?i:(?:^|[^A-Za-z])(?:(?P<certain>{_CERTAIN})|(?P<possible>{_POSSIBLE}))\Z)"
_LOOKS_SECRET: Final = r"(?=.{0,4096}\d)(?=.{0,4096}[A-Za-z])[A-Za-z0-9_\-.~+/=:]{16,4096}\Z"
# Both begin with the last words of a name; its beginning is looked at afterwards, so that no text takes long.
_ASSIGNED: Final = (
    rf"(?i:(?P<name>{_CERTAIN}|{_POSSIBLE}))"
    r"(?P<between>['\"]?\]?\s{0,8}(?:=>|:=|[:=])\s{0,8}[bru]{0,2})"
    r"(?:(?P<quote>\"\"\"|'''|[\"'])(?P<quoted>.{1,512}?)(?P=quote)|(?P<bare>[^\s'\",;()\[\]{}<>]{4,4096}))"
)
_OPTION: Final = (
    rf"(?i:(?P<name>{_CERTAIN}|{_POSSIBLE}))(?P<between>[ \t=]['\"]?|['\"],[ \t]?['\"])"
    r"(?P<bare>[^\s'\",\-][^\s'\",]{0,4095})"
)
_BEFORE: Final = r"[A-Za-z0-9_.\-]*\Z"
_NAME_MAX: Final = 64  # characters before those words
_PLACEHOLDER: Final = (
    r"(?i:none|null|nil|true|false|yes|no|undefined|changeme|x+|\*+|\.+|-+|<.*>|\$\{.*\}|\$\(.*\)|\$[A-Z_]+"
    r"|\{[^'\x22]*\}|\[[^'\x22]*\]"  # but no dict or list of texts, as an argument with several values has them
    r"|(?:~|\.{1,2})?(?:/[a-z0-9_.\-]{1,32}){1,16}"  # a path, to where the secret is
    r"|%\(.*\)s|os\.environ.*|env[:.].*|str|int|float|bool|string)\Z"
)
_HINTS: Final = tuple({*_WORDS, *(hint for _, hints, _ in _SHAPES for hint in hints)})


def is_redacted(value: object) -> bool:
    """Whether a text holds the mark of a secret that was taken out, or purged: it must not be given back as a value."""
    return isinstance(value, str) and ("[redacted" in value or is_purged(value))


def is_purged(value: str) -> bool:
    """Whether a text stands in the place of one that was purged (see `purged.mark_of`)."""
    return value.startswith("[purged ")


def redact(text: str) -> str:
    """The text without the secrets in it, a mark in the place of each; the same object where there is none."""
    low = text.lower()
    if not any(hint in low for hint in _HINTS):
        return text
    found = text
    for kind, hints, shape in _SHAPES:
        if any(hint in low for hint in hints):
            found = _pattern(shape).sub(_marked(kind), found)
    if any(word in low for word in _WORDS):
        found = _pattern(_OPTION).sub(_option, _pattern(_ASSIGNED).sub(_assigned, found))
    return text if found == text else found


def redact_named(name: str, value: str) -> str:
    """The value of something called `name`: a mark in its place where the name says that it is a secret."""
    certain = _is_secret_name(name)
    if certain is None or not value or is_redacted(value) or _pattern(_PLACEHOLDER).match(value):
        return redact(value)
    return _MARK.format("secret") if certain or _pattern(_LOOKS_SECRET).match(value) else redact(value)


def redact_value(name: str, value: Any) -> Any:
    """A JSON value with its texts redacted, the same object where none was; `name` is its own, a member's is its key.

    What is called "value" stands for the whole, as in the record of a parameter.
    """
    if isinstance(value, str):
        return redact_named(name, value)
    if isinstance(value, Mapping):
        members = {
            key: redact_value(name if key == "value" else str(key), item) for key, item in value.items()
        }
        return value if all(members[key] is item for key, item in value.items()) else members
    if isinstance(value, list | tuple):
        items = [redact_value(name, item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def redact_bytes(data: bytes) -> bytes:
    """The same for a text whose encoding nobody knows: what is no UTF-8 in it stays as it is."""
    text = data.decode("utf-8", "surrogateescape")
    found = redact(text)
    return data if found is text else found.encode("utf-8", "surrogateescape")


class Lines:
    """The lines of one stream, one after another: a private key is many of them."""

    def __init__(self) -> None:
        self._in_key = 0

    def redact(self, line: str) -> str:
        """One line without its secrets."""
        if self._in_key:
            self._in_key = 0 if "-----END" in line else self._in_key - 1
            return _MARK.format("private key")
        if "-----BEGIN" in line and "PRIVATE KEY" in line and "-----END" not in line:
            self._in_key = _KEY_LINES
        return redact(line)


@cache
def _pattern(shape: str) -> re.Pattern[str]:
    return re.compile(shape)


def _marked(kind: str) -> Callable[[re.Match[str]], str]:
    def replaced(found: re.Match[str]) -> str:
        kept = found.groupdict().get("kept") or ""
        secret = found[0][len(kept) :]
        if is_redacted(secret) or _pattern(_PLACEHOLDER).match(secret):
            return found[0]
        return kept + _MARK.format(kind)

    return replaced


def _assigned(found: re.Match[str]) -> str:
    secret = found["bare"] or found["quoted"]
    if is_redacted(secret) or _pattern(_PLACEHOLDER).match(secret):
        return found[0]
    name = _whole_name(found)
    certain = _is_secret_name(name)
    if certain is None:
        return found[0]
    told = certain and (found["bare"] is None or _is_setting(name, found["between"], secret))
    if not told and not _pattern(_LOOKS_SECRET).match(secret):
        return found[0]
    quote = found["quote"] or ""
    return f"{found['name']}{found['between']}{quote}{_MARK.format('secret')}{quote}"


def _is_setting(name: str, between: str, value: str) -> bool:
    """Whether what is assigned without quotes is a value, as in settings files, and not a name or call, as in code."""
    if between == "=" and name.replace("_", "").isupper():
        return True
    return between in ("=", ":", ": ") and "." not in value and not value.isalpha()


def _option(found: re.Match[str]) -> str:
    secret, name = found["bare"], _whole_name(found)
    certain = _is_secret_name(name)
    if certain is None or not name.startswith("-") or is_redacted(secret):
        return found[0]
    if _pattern(_PLACEHOLDER).match(secret) or not (certain or _pattern(_LOOKS_SECRET).match(secret)):
        return found[0]
    return f"{found['name']}{found['between']}{_MARK.format('secret')}"


def _whole_name(found: re.Match[str]) -> str:
    start, end = found.span("name")
    before = _pattern(_BEFORE).search(found.string, max(0, start - _NAME_MAX), start)
    return found.string[before.start() if before else start : end]


def _is_secret_name(name: str) -> bool | None:
    """Whether what has this name is a secret: True in any case, False where it looks like one, None where it is not."""
    low = name.lower()
    if not any(word in low for word in _WORDS):
        return None
    named = _pattern(_NAME).search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name))
    return None if named is None else named["certain"] is not None
