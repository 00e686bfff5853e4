"""Expressions against plain Python integers, the canonical text, and every way to get one wrong."""

import itertools
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grokkit.errors import InputError
from grokkit.tasks import SHORT_NAMES, Expression, parse

# Generous, for a machine that does other things as well: a hang is what it must catch.
MODEST = settings(max_examples=400, deadline=3000)


def table(expression: Expression) -> tuple[list[tuple[int, ...]], list[int | None]]:
    """Every assignment (operands alphabetically) and its result, None where undefined."""
    names = expression.operands_sorted
    rows = list(itertools.product(range(expression.modulus), repeat=len(names)))
    columns = torch.tensor(rows).T
    results, valid = expression.evaluate(dict(zip(names, columns, strict=True)))
    assert results.dtype == torch.int64
    assert valid.dtype == torch.bool
    return rows, [r if ok else None for r, ok in zip(results.tolist(), valid.tolist(), strict=True)]


def inverse(x: int, p: int) -> int | None:
    return pow(x, -1, p) if x % p else None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a + b mod 11", lambda a, b: a + b),
        ("a - b mod 11", lambda a, b: a - b),
        ("a*b mod 12", lambda a, b: a * b),
        ("a*a - b mod 11", lambda a, b: a * a - b),
        ("a - b*c mod 6", lambda a, b, c: a - b * c),
        ("a - b - c mod 5", lambda a, b, c: a - b - c),
        ("(a - b)*(b + c) mod 5", lambda a, b, c: (a - b) * (b + c)),
        ("-a^2 + -b mod 7", lambda a, b: -(a**2) - b),
        ("(-a)^3 - -b mod 7", lambda a, b: (-a) ** 3 + b),
        ("a^0 + 100*b mod 7", lambda a, b: 1 + 100 * b),
        ("2 mod 2", None),
        ("a mod 2", lambda a: a),
        ("a*c + b*d - e mod 3", lambda a, b, c, d, e: a * c + b * d - e),
    ],
)
def test_whole_table_equals_plain_integers(text, plain):
    if plain is None:
        with pytest.raises(InputError, match="no operand"):
            parse(text)
        return
    expression = parse(text)
    rows, results = table(expression)
    assert results == [plain(*row) % expression.modulus for row in rows]


@pytest.mark.parametrize("p", [2, 3, 5, 13])
def test_division_is_the_modular_inverse(p):
    rows, results = table(parse(f"a/b mod {p}"))
    assert results == [None if b == 0 else a * pow(b, -1, p) % p for a, b in rows]
    assert all(result * b % p == a for (a, b), result in zip(rows, results, strict=True) if result is not None)


def test_division_by_a_compound_divisor_and_associativity():
    rows, results = table(parse("a/(a - b)/2 mod 5"))
    expected = []
    for a, b in rows:
        first = inverse(a - b, 5)
        expected.append(None if first is None else a * first * pow(2, -1, 5) % 5)
    assert results == expected
    assert None in results


def test_values_are_taken_modulo_p_in_any_shape():
    results, valid = parse("a*b mod 7").evaluate({"a": torch.tensor([[-1], [15]]), "b": torch.tensor([[3], [700]])})
    assert results.tolist() == [[4], [0]]
    assert valid.all()


def test_largest_single_operand_modulus_does_not_overflow():
    p = 4_999_999
    expression = parse(f"a^100 mod {p}")
    results, _ = expression.evaluate({"a": torch.tensor([p - 1, p - 2, 1234567])})
    assert results.tolist() == [pow(x, 100, p) for x in (p - 1, p - 2, 1234567)]


@pytest.mark.parametrize(
    ("text", "canonical", "operands", "operators"),
    [
        ("a*b mod 97", "a*b mod 97", "ab", "*"),
        ("  a×b   mod 097 ", "a*b mod 97", "ab", "*"),
        ("a·b mod 97", "a*b mod 97", "ab", "*"),
        ("((a))*(b) mod 97", "a*b mod 97", "ab", "*"),
        ("a**2−b mod 97", "a^2 - b mod 97", "ab", "^-"),
        ("(a*c)+(b*d)-e mod 7", "a*c + b*d - e mod 7", "acbde", "*+*-"),
        ("a-(b-c) mod 7", "a - (b - c) mod 7", "abc", "--"),
        ("a/(b*c) mod 7", "a/(b*c) mod 7", "abc", "/*"),
        ("(a/b)*c mod 7", "a/b*c mod 7", "abc", "/*"),
        ("(a+b)^2 mod 7", "(a + b)^2 mod 7", "ab", "+^"),
        ("-(a*b) + (-a)^2 mod 7", "-(a*b) + (-a)^2 mod 7", "ab", "*+^"),
        ("y + 2*x mod 7", "y + 2*x mod 7", "yx", "+*"),
    ],
)
def test_canonical_text_operands_and_operators(text, canonical, operands, operators):
    expression = parse(text)
    assert expression.text == canonical
    assert "".join(expression.operands) == operands
    assert "".join(expression.operands_sorted) == "".join(sorted(operands))
    assert "".join(expression.operators) == operators
    assert parse(canonical) == expression
    assert hash(parse(canonical)) == hash(expression)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b mod 97", True),
        ("b*a mod 97", True),
        ("a - b mod 97", False),
        ("a - b mod 2", True),
        ("a*a - b mod 97", False),
        ("(a - b)^2 mod 97", True),
        ("a/b mod 97", False),
        ("a/b mod 2", False),
        ("a/b + b/a mod 7", True),
        ("a*b + 0/b mod 7", False),  # equal results, but not defined for the same rows
        ("a*b + a - a*(a*b)/(a*b) mod 7", True),  # what stands in undefined rows does not count
        ("0*a + a^4*b mod 3", False),
        ("3*a + b mod 2", True),
        ("a*a mod 7", False),
        ("a + b + c mod 7", False),
    ],
)
def test_is_commutative(text, expected):
    assert parse(text).is_commutative is expected


def test_short_names_stand_for_their_formulas():
    assert {name: parse(f"{name}:7").text for name in SHORT_NAMES} == {
        "add": "a + b mod 7",
        "sub": "a - b mod 7",
        "mul": "a*b mod 7",
        "div": "a/b mod 7",
        "square-sub": "a*a - b mod 7",
        "dot-sub": "a*c + b*d - e mod 7",
    }
    assert parse(" add : 97 ") == parse("a+b mod 97")
    for short in SHORT_NAMES.values():
        assert short.description
        assert "\n" not in short.description


def test_survives_pickling():
    expression = parse("a/b mod 7")
    assert not expression.is_commutative
    assert pickle.loads(pickle.dumps(expression)) == expression


ALLOWED = r"Allowed: operands a–z, integers, \+ - \* / \^ \( \), then 'mod' and the modulus, as in 'a\*b mod 97'$"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a $ b mod 97", rf"^cannot read 'a \$ b mod 97': unexpected '\$' at character 3\. {ALLOWED}"),
        ("a*b", rf"^cannot read 'a\*b': the modulus is missing\. {ALLOWED}"),
        ("", rf"^cannot read '': the modulus is missing\. {ALLOWED}"),
        ("A*b mod 97", rf"unexpected 'A' at character 1\. {ALLOWED}"),
        ("ab mod 97", rf"'ab' at character 1 is not one letter \(products need a \*\)\. {ALLOWED}"),
        ("2a mod 97", rf"unexpected 'a' at character 2\. {ALLOWED}"),
        ("a* mod 97", rf"expected an operand, an integer or '\(', not 'mod' at character 4\. {ALLOWED}"),
        ("(a+b mod 97", rf"expected '\)', not 'mod' at character 6\. {ALLOWED}"),
        ("a+b) mod 97", rf"unexpected '\)' at character 4\. {ALLOWED}"),
        ("a+b mod", rf"expected the modulus, an integer, not the end\. {ALLOWED}"),
        ("a+b mod -5", rf"expected the modulus, an integer, not '-' at character 9\. {ALLOWED}"),
        ("a+b mod 5 + 1", rf"unexpected '\+' at character 11, after the modulus\. {ALLOWED}"),
        ("a+b mod 9.5", rf"unexpected '\.' at character 10\. {ALLOWED}"),
        ("a^b mod 97", rf"expected an exponent, an integer of 0 to 100, not 'b' at character 3\. {ALLOWED}"),
        ("a^101 mod 97", r"an integer of 0 to 100, not '101' at character 3"),
        ("a^-1 mod 97", r"an integer of 0 to 100, not '-' at character 3"),
        ("a^2^3 mod 97", rf"unexpected '\^' at character 4\. {ALLOWED}"),
        ("(" * 33 + "a" + ")" * 33 + " mod 7", r"nested more than 32 deep, with '\(' at character 33"),
        ("-" * 33 + "a mod 7", r"nested more than 32 deep, with '-' at character 33"),
        ("3 mod 97", r"^'3 mod 97' has no operand; use at least one letter a–z, as in 'a\*b mod 97'$"),
        ("a+b+c+d+e+f+g+h+i mod 2", r"has 9 operands \(a, b, .*, i\); use at most 8 letters$"),
        ("a+b mod 1", r"^'a\+b mod 1': modulus 1 is below 2; take at least 2, better a prime such as 97$"),
        ("add:0", r"^'add:0': modulus 0 is below 2; take at least 2"),
        ("a/b mod 98", r"^'a/b mod 98' divides, and modulus 98 is not prime.*next primes, 97 or 101$"),
        ("a/2 mod 4", r"^'a/2 mod 4' divides, and modulus 4 is not prime.*next primes, 3 or 5$"),
        ("div:100", r"^'div:100' divides, and modulus 100 is not prime.*next primes, 97 or 101$"),
        (
            "a*b*c*d mod 97",
            r"^'a\*b\*c\*d mod 97' has 88,529,281 rows \(97\^4\), and at most 5,000,000 are allowed; "
            r"take a modulus of at most 47, or fewer operands$",
        ),
        ("a mod 5000001", r"has 5,000,001 rows .* take a modulus of at most 5000000, or fewer operands$"),
        ("a*b mod 1" + "0" * 100, r"has about 10\^200 rows"),
        (
            "mull:97",
            r"^unknown task 'mull'; did you mean 'mul'\? Allowed: add, div, dot-sub, mul, square-sub, sub$",
        ),
        ("parity", r"^unknown task 'parity'; .*Allowed: add, div, dot-sub, mul, square-sub, sub$"),
        ("mul", r"^the task 'mul' needs its modulus; write mul:97$"),
        ("mul:", r"^cannot read 'mul:': after the colon comes the modulus, an integer; write mul:97$"),
        ("mul:x", r"^cannot read 'mul:x': after the colon comes the modulus, an integer; write mul:97$"),
    ],
)
def test_errors_name_the_value_and_the_remedy(text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_length_limit_counts_no_white_space():
    assert len(parse(" ".join("a+" * 97 + "a") + "  mod 7").operators) == 97
    with pytest.raises(InputError, match=r"^the expression 'a\+a\+.*'… has over 200 characters; write a shorter"):
        parse("a+" * 98 + "a + 10 mod 7")


def test_evaluate_refuses_other_operands():
    with pytest.raises(InputError, match=r"^'a\*b mod 7': values for a given; give them for exactly a, b$"):
        parse("a*b mod 7").evaluate({"a": torch.arange(7)})


# Trees as nested tuples, evaluated with Python integers, and written with every parenthesis.
Tree = Any
LEAVES = st.one_of(st.sampled_from("abcde"), st.integers(0, 10**18))
TREES = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.tuples(st.sampled_from("+-*/"), part, part),
        st.tuples(st.just("negate"), part),
        st.tuples(st.just("^"), part, st.integers(0, 6)),
    ),
    max_leaves=7,
)


def written(tree: Tree) -> str:
    match tree:
        case ("negate", part):
            return f"(-{written(part)})"
        case ("^", part, exponent):
            return f"({written(part)}{'^' if exponent % 2 else '**'}{exponent})"
        case (operator, left, right):
            return f"({written(left)}{operator}{written(right)})"
        case leaf:
            return str(leaf)


def exact(tree: Tree, values: dict[str, int], p: int) -> int | None:
    match tree:
        case ("negate", part):
            x = exact(part, values, p)
            return None if x is None else -x
        case ("^", part, exponent):
            x = exact(part, values, p)
            return None if x is None else x**exponent
        case (operator, left, right):
            x, y = exact(left, values, p), exact(right, values, p)
            if x is None or y is None:
                return None
            if operator == "/":
                y_inverse = inverse(y, p)
                return None if y_inverse is None else x * y_inverse
            return {"+": x + y, "-": x - y, "*": x * y}[operator]
        case int(number):
            return number
        case name:
            return values[name]


@given(tree=TREES, p=st.sampled_from([2, 3, 7, 19]), data=st.data())
@MODEST
def test_random_trees_equal_big_integers(tree, p, data):
    text = f"{written(tree)} + 0*a mod {p}"  # so that there is an operand
    expression = parse(text)
    assert parse(expression.text) == expression
    row = st.fixed_dictionaries({name: st.integers(-p, 2 * p) for name in expression.operands})
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    results, valid = expression.evaluate({n: torch.tensor([r[n] for r in rows]) for n in expression.operands})
    wanted = [exact(tree, r, p) for r in rows]
    assert valid.tolist() == [w is not None for w in wanted]
    assert [r for r, w in zip(results.tolist(), wanted, strict=True) if w is not None] == [
        w % p for w in wanted if w is not None
    ]


PIECES = st.sampled_from([*"abcmod0179+-*/^():×·−$ \n", "mod", " mod 97", "**", "add:", "dot-sub", "٣", "ª"])


@given(text=st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=40).map("".join)))
@MODEST
def test_any_text_is_parsed_or_refused_in_one_line(text):
    try:
        expression = parse(text)
    except InputError as error:
        lines = str(error).splitlines()
    else:
        assert parse(expression.text) == expression
        ones = torch.ones(1, dtype=torch.int64)
        results, _ = expression.evaluate(dict.fromkeys(expression.operands, ones))
        assert 0 <= int(results) < expression.modulus
        return
    assert len(lines) == 1


@pytest.mark.parametrize("text", ["a" * 10**6, "(" * 10**6, " " * 10**6, "-" * 199 + "a", "9" * 10**5 + " mod 7"])
def test_long_text_is_refused(text):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert len(str(caught.value)) < 600
