"""Takes out of a patient's words what obviously points at one person. Rules alone; they miss what they do not name."""

import re

LONGEST = 300  # signs that are kept of one question
_NAME = r"[A-Z][\w'’-]*(?:\s+(?:[A-Z]\.?\s+)?[A-Z][\w'’-]*){0,2}"
_ANY_NAME = r"[^\W\d_][\w'’-]*(?:\s+[A-Z][\w'’-]*){0,2}"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*"
# In this order: an e-mail address may hold digits, and a date may look like a long number.
_RULES = tuple((re.compile(pattern), mark) for pattern, mark in (
    (r"(?i)[\w.+-]+\s?@\s?[\w-]+(?:\.[\w-]+)+", "[e-mail]"),
    (r"(?i)\b(?:https?://|www\.)\S+", "[web address]"),
    (r"(?i)\b(?:born|dob|d\.o\.b\.?|date of birth|birthday)\b(?:\W+(?:on|in|is|was|the))*\W+"
     rf"(?:\d[\d./-]*\d(?:\s+{_MONTH}\s+\d{{2,4}})?|\d{{1,2}}(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH}\W*\d{{0,4}}"
     rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?\W*\d{{0,4}})", "[date of birth]"),
    (r"\b\d{1,4}([./-])\d{1,2}\1\d{2,4}\b", "[date]"),
    (rf"(?i)\b\d{{1,2}}(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH}\.?,?\s+(?:19|20)\d\d\b", "[date]"),
    (rf"(?i)\b{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+(?:19|20)\d\d\b", "[date]"),
    (r"\b(?=[A-Z0-9-]*\d{3})(?=[A-Z0-9-]*[A-Z])[A-Z0-9-]{6,}\b", "[number]"),  # MRN-12345, AB123456C
    (r"(?<!\w)\+?\(?\d(?:[\d().\s/-]{0,3}\d){5,}(?![\w%])", "[number]"),  # phones, records, insurance: 6 digits on
    (rf"(?i)\b(my name(?:'s|’s| is)|name:|i am called|i'm called|they call me|his name is|her name is)\s+(?-i:{_ANY_NAME})",
     r"\1 [name]"),
    (rf"\b((?i:this is|i am|i'm|i’m|im|signed|regards,?|thanks,?|husband|wife|son|daughter|mother|father|mum|mom|dad))\s+"
     rf"(?!I\b){_NAME}", r"\1 [name]"),
    (rf"\b((?i:mr|mrs|ms|miss|dr|doctor|prof|nurse))\.?\s+{_NAME}", r"\1 [name]"),
    (rf"(?i)\b\d{{1,5}}\s+(?-i:{_NAME})\s+(?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|court|ct|way|place)\b\.?",
     "[address]"),
))  # fmt: skip


def redacted(text: str) -> str:
    """Return the question on one line, at most 300 signs, with names, numbers, addresses and dates marked out.

    What has no sign of its own, such as a bare "tell Anna", stays: staff are told so where they switch the record on.
    """
    for pattern, mark in _RULES:
        text = pattern.sub(mark, text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 2].rsplit(" ", 1)[0] + " …"
