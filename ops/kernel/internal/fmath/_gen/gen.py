"""Computes the tables and polynomials of package fmath and writes them as Go source to standard output:

    python3 gen.py | gofmt > ../tables.go

It needs mpmath. Nothing of it runs at build time; the output is checked in. Polynomials are minimax approximations by the
exchange algorithm of Remez (1934) on a fine grid, in 240-bit arithmetic; see Muller, "Elementary Functions" (2016), section
3.8. The achieved errors are printed to standard error as powers of two.
"""

import sys
from mpmath import mp, mpf

mp.prec = 240


def grid(a, b, n=600):
    """n points of [a, b], denser towards the ends as extrema of the error are."""
    return [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * i / (n - 1)) for i in range(n)]


def remez(f, weight, degree, a, b):
    """Coefficients, lowest first, of the polynomial p with the least maximum of |weight(x) * (p(x) - f(x))| on [a, b]."""
    xs = grid(mpf(a), mpf(b))
    fs, ws = [f(x) for x in xs], [abs(weight(x)) for x in xs]
    usable = [i for i in range(len(xs)) if ws[i] > 0]
    n = degree + 2
    at = [usable[(len(usable) - 1) * i // (n - 1)] for i in range(n)]
    best = [usable[0]] + at[1:-1] + [usable[-1]]
    scale = max(abs(mpf(a)), abs(mpf(b)))
    for _ in range(30):
        at = best
        m = mp.matrix(n, n)
        rhs = mp.matrix(n, 1)
        for row, i in enumerate(at):
            for c in range(n - 1):
                m[row, c] = (xs[i] / scale) ** c
            m[row, n - 1] = (-1) ** row / ws[i]
            rhs[row] = fs[i]
        sol = mp.lu_solve(m, rhs)
        coef = [sol[c] / scale**c for c in range(n - 1)]
        err = {i: ws[i] * (mp.polyval(coef[::-1], xs[i]) - fs[i]) for i in usable}
        # One extremum for each run of errors of one sign; the largest n neighbours remain.
        ext = []
        for i in usable:
            if ext and (err[i] > 0) == (err[ext[-1]] > 0):
                if abs(err[i]) > abs(err[ext[-1]]):
                    ext[-1] = i
            else:
                ext.append(i)
        while len(ext) > n:
            ext.pop(0 if abs(err[ext[0]]) < abs(err[ext[-1]]) else -1)
        top = max(abs(e) for e in err.values())
        if len(ext) < n or top < abs(sol[n - 1]) * mpf("1.001"):
            break
        best = ext
    return coef, top


def double(x):
    return float(mpf(x))


def hex64(x):
    return float(x).hex() if x else "0"


def pair(x):
    """x as the sum of two float64."""
    hi = double(x)
    return hi, double(mpf(x) - mpf(hi))


def head(x, bits):
    """The multiple of 2**-bits nearest to x."""
    return double(mp.nint(mpf(x) * mpf(2) ** bits) / mpf(2) ** bits)


def constants(doc, names, values):
    print(f"\n// {doc}\nconst (")
    for n, v in zip(names, values):
        print(f"\t{n} = {hex64(double(v))}")
    print(")")


def polynomial(doc, prefix, f, weight, degree, a, b):
    """Prints the coefficients as constants prefix0, prefix1 and so on."""
    coef, top = remez(f, weight, degree, a, b)
    print(f"{prefix}: 2**{float(mp.log(top, 2)):.1f}", file=sys.stderr)
    constants(f"{doc} The error is below 2**{int(mp.ceil(mp.log(top, 2)))}.", [f"{prefix}{i}" for i in range(degree + 1)], coef)


def expansion(f, order, x, series):
    """f(x) where a closed form loses digits near 0: the power series there, series(n) being the coefficient of x**n."""
    if abs(x) < mpf(2) ** -20:
        return sum(series(n) * x**n for n in range(14))
    with mp.workprec(mp.prec + 20 * order + 40):
        return f(x)


def exponential():
    n = 128
    step = mp.log(2) / n
    hi = head(step, 42)
    lo = double(step - hi)
    constants("The step log(2)/128 of the table of powers, its first part of so few bits that multiples up to 2**18 are exact.",
              ["expInvStep", "expStepHi", "expStepLo"], [1 / step, hi, lo])
    bound = step / 2 * mpf("1.001")
    polynomial("(e**r - 1 - r) / r**2 for |r| <= log(2)/256; the error is that of e**r.", "expC",
               lambda r: expansion(lambda r: (mp.exp(r) - 1 - r) / r**2, 2, r, lambda k: 1 / mp.factorial(k + 2)),
               lambda r: r**2, 4, -bound, bound)
    print("\n// expTable holds 2**(i/128) as sums of two numbers, the first of 26 bits.\nvar expTable = [128]struct{ hi, lo float64 }{")
    for i in range(n):
        a = head(mpf(2) ** (mpf(i) / n), 25)
        b = double(mpf(2) ** (mpf(i) / n) - a)
        print(f"\t{{{hex64(a)}, {hex64(b)}}},", end="\n" if i % 2 else " ")
    print("}")
    polynomial("(sinh(x)/x - 1) / x**2 in z = x**2 for |x| <= 1/2; the error is relative to x.", "sinhC",
               lambda z: expansion(lambda z: (mp.sinh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 2, z, lambda k: 1 / mp.factorial(2 * k + 3)),
               lambda z: z, 5, 0, mpf(1) / 4)


def logarithm():
    constants("log(2), its first part of so few bits that products with exponents are exact.",
              ["ln2Hi", "ln2Lo"], [head(mp.log(2), 42), mp.log(2) - head(mp.log(2), 42)])
    bound = mpf(2) ** -7
    polynomial("(log(1+r) - r + r**2/2) / r**3 for |r| <= 1/128; the error is relative to r.", "logC",
               lambda r: expansion(lambda r: (mp.log1p(r) - r + r**2 / 2) / r**3, 3, r, lambda k: mpf((-1) ** k) / (k + 3)),
               lambda r: r**2, 6, -bound, bound)
    # The table covers [logFirst, 2*logFirst): 128 equal parts of the significand of each binade it meets.
    first = mpf(90) / 128  # 0.703125 as a multiple of 1/256 in [0.5, 1)
    print(f"\n// The table of logarithms covers [0.703125, 1.40625): these are the bits of its first number.\nconst logFirst = {hex(0x3FE0000000000000 + (int(first * 256) - 128 << 45))}")
    print("\n// logTable holds a rough reciprocal inv of the numbers of each interval and -log(inv) as a sum, hi a multiple of 2**-42.")
    print("// Around 1 the reciprocal is 1 and the logarithm 0, so that nothing cancels there.\nvar logTable = [128]struct{ inv, hi, lo float64 }{")
    for i in range(128):
        at = int(first * 256) - 128 + i
        a, b = ((mpf(at + 128) / 256, mpf(at + 129) / 256) if at < 128 else (mpf(at) / 128, mpf(at + 1) / 128))
        inv = head(2 / (a + b), 11)
        if b == 1 or a == 1:
            inv = 1.0
        hi = head(-mp.log(inv), 42)
        lo = double(-mp.log(inv) - hi)
        assert max(abs(a * inv - 1), abs(b * inv - 1)) <= bound
        print(f"\t{{{hex64(inv)}, {hex64(hi)}, {hex64(lo)}}},")
    print("}")


def trigonometric():
    half = mp.pi / 2
    p1 = head(half, 26)
    p2 = head(half - p1, 53)
    hi, lo = pair(half)
    constants("pi/2 in three parts, of which the first two have 27 bits so that multiples up to 2**26 are exact, and as a sum of two.",
              ["halfPi1", "halfPi2", "halfPi3", "halfPiHi", "halfPiLo", "twoOverPi"],
              [p1, p2, half - p1 - p2, hi, lo, 2 / mp.pi])
    bits = 1280
    with mp.workprec(bits + 64):
        v = int(mp.floor(2 / mp.pi * mpf(2) ** bits))
    words = [0] + [v >> (bits - 64 * (i + 1)) & (1 << 64) - 1 for i in range(bits // 64)]
    print("\n// twoOverPiBits holds 2/pi in words of 64 bits; the first stands before the binary point.")
    print(f"var twoOverPiBits = [{len(words)}]uint64{{")
    for w in words:
        print(f"\t{hex(w)},")
    print("}")
    bound = (mp.pi / 4) ** 2 * mpf("1.0001")
    polynomial("(sin(r)/r - 1) / r**2 in z = r**2 for |r| <= pi/4; the error is relative to r.", "sinC",
               lambda z: expansion(lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 2, z,
                                   lambda k: mpf((-1) ** (k + 1)) / mp.factorial(2 * k + 3)),
               lambda z: z, 5, 0, bound)
    polynomial("(cos(r) - 1 + r**2/2) / r**4 in z = r**2 for |r| <= pi/4; the error is that of cos(r).", "cosC",
               lambda z: expansion(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, 3, z,
                                   lambda k: mpf((-1) ** k) / mp.factorial(2 * k + 4)),
               lambda z: z**2, 5, 0, bound)


def inverse_trigonometric():
    polynomial("(asin(x)/x - 1) / x**2 in z = x**2 for |x| <= 1/2; the error is relative to x.", "asinC",
               lambda z: expansion(lambda z: (mp.asin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 2, z,
                                   lambda k: mp.factorial(2 * k + 2) / (mpf(4) ** (k + 1) * mp.factorial(k + 1) ** 2 * (2 * k + 3))),
               lambda z: z, 12, 0, mpf(1) / 4)
    polynomial("(atan(t)/t - 1) / t**2 in z = t**2 for |t| <= 1/16; the error is relative to t.", "atanC",
               lambda z: expansion(lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 2, z,
                                   lambda k: mpf((-1) ** (k + 1)) / (2 * k + 3)),
               lambda z: z, 4, 0, mpf(1) / 256)
    print("\n// atanTable holds arc tangents of numbers c, eight in each binade from 1/16 to 16, as sums of two numbers.")
    print("var atanTable = [64]struct{ c, hi, lo float64 }{")
    for e in range(-4, 4):
        for i in range(8):
            c = mpf(2) ** e * (1 + mpf(2 * i + 1) / 16)
            a, b = pair(mp.atan(c))
            print(f"\t{{{hex64(double(c))}, {hex64(a)}, {hex64(b)}}},")
    print("}")


def error_function():
    k = 2 / mp.sqrt(mp.pi)
    hi, lo = pair(k)
    constants("2/sqrt(pi) - 1 as a sum of two numbers and 1/sqrt(2) likewise.", ["erfHi", "erfLo", "sqrtHalfHi", "sqrtHalfLo"],
              pair(k - 1) + pair(mp.sqrt(mpf(1) / 2)))
    polynomial("(erf(x)/x - 2/sqrt(pi)) / x**2 in z = x**2 for |x| <= 1/2; the error is relative to x.", "erfC",
               lambda z: expansion(lambda z: (mp.erf(mp.sqrt(z)) / mp.sqrt(z) - k) / z, 2, z,
                                   lambda n: k * (-1) ** (n + 1) / (mp.factorial(n + 1) * (2 * n + 3))),
               lambda z: z, 8, 0, mpf(1) / 4)
    degree = 11
    print("\n// erfcTable holds polynomials of exp(x**2)*erfc(x) in h = x - c, where c is the centre of one of eight intervals of a")
    print("// binade from 1/2 to 32. The first coefficient is the sum of the first two numbers.")
    print(f"var erfcTable = [48][{degree + 2}]float64{{")
    worst = mpf(0)
    for e in range(-1, 5):
        for i in range(8):
            w = mpf(2) ** e / 16
            c = mpf(2) ** e * (1 + mpf(2 * i + 1) / 16)
            g = lambda h: mp.exp((c + h) ** 2) * mp.erfc(c + h)
            at0 = g(mpf(0))
            with mp.workprec(300):
                coef, top = remez(lambda h: (g(h) - at0) / h if abs(h) > mpf(2) ** -80 else mp.diff(g, 0), lambda h: h / at0, degree - 1, -w, w)
            worst = max(worst, top)
            a, b = pair(at0)
            print("\t{" + ", ".join(hex64(double(v)) for v in [a, b] + coef) + "},")
    print("}")
    print(f"erfcTable: 2**{float(mp.log(worst, 2)):.1f}", file=sys.stderr)


print("// Code generated by _gen/gen.py. DO NOT EDIT.\n\npackage fmath")
parts = {"exp": exponential, "log": logarithm, "trig": trigonometric, "atrig": inverse_trigonometric, "erf": error_function}
for name in sys.argv[1:] or parts:
    parts[name]()
