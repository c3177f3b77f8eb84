"""Where functions are in a Rust source, as far as these scripts need it."""
import re


def is_production(name):
    return not {"tests", "testing", "fuzz"} & set(name.removesuffix(".rs").split("/"))


def production(text):
    """The text up to the tests at the end."""
    return re.split(r"#\[cfg\(test\)\]\n(?:pub(?:\(.*?\))? )?mod ", text)[0]


def masked(text):
    """The text with blanks for comments, strings and characters."""
    pattern = re.compile(
        r"""//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""",
        re.DOTALL,
    )
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def end_of(mask, start):
    """The place after the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(mask)):
        if mask[at] in "([{":
            depth += 1
        elif mask[at] in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
    raise ValueError("an open bracket")


def functions(mask):
    """Each function: its name, where its head begins, where its body is."""
    last = 0
    for found in re.finditer(r"\bfn (\w+)", mask):
        after = re.search(r"[{;]", mask[found.end() :])
        at = found.end() + after.start()
        if mask[at] == "{" and at >= last:
            last = end_of(mask, at)
            yield found.group(1), mask.rfind("\n", 0, found.start()) + 1, at, last
