"""Writes docs/peers.md: what the benchmarks beside other tools print, each with the machine, the load and the versions that it ran with."""
import argparse
import datetime
import os
import platform
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))
PAGE = os.path.join(ROOT, 'docs/peers.md')
# Sections: name, title, command, in words.
SECTIONS = [
    ('nodes', 'Nodes that are left', 'bench/simplify/run nodes', 'Fewer is better where the result computes the same (below).'),
    ('correct', 'Do the results compute the same?', 'bench/simplify/run correct', 'Against the original in ONNX Runtime without its own optimizations.'),
    ('speed', 'Time that optimizing takes', 'bench/simplify/run speed', 'Whole processes, from the file to the file.'),
    ('latency', 'Time of the results', 'bench/simplify/run latency', 'In ONNX Runtime, interleaved.'),
    ('memory', 'Memory that optimizing takes', 'bench/simplify/run memory', ''),
    ('scale', 'Large models', 'bench/simplify/run scale', ''),
    ('quantize', 'Quantization', 'bench/quantize/run', 'Beside the quantizers of ONNX Runtime.'),
    ('engine', 'The embedded engine', 'bench/engine/run', 'Beside ONNX Runtime.'),
    ('compress', 'Pruning and decomposition', 'bench/compress/run', ''),
    ('targets', 'Targets', 'bench/targets/run', 'Beside onnx2tf for `.tflite`.'),
    ('c', 'C', 'PEER=1 bench/c/run', 'Beside ONNX Runtime and emx-onnx-cgen.'),
]
HEAD = '''# Beside other tools

Written by `bench/peers/run`, which runs the benchmarks named below and takes in what they print, unchanged: bounds that are missed stand here,
too. A section has the day and the machine that it was measured on; times of a machine that was busy are said to be so by its load. Sections that
are missing were not run. Docs of [calls beside ours](python.md) and of [rules beside ours](coverage.tsv) compare what there is, not how well.
'''


def existing():
    """The sections of the page as it is, by name."""
    try:
        with open(PAGE, encoding='utf-8') as f:
            text = f.read()
    except FileNotFoundError:
        return {}
    return {m[1]: m[0] for m in re.finditer(r'<!-- (\w+) -->\n.*?<!-- end -->\n', text, re.S)}


def measure(name, title, command, words):
    load = os.getloadavg()[0]
    done = subprocess.run(['bash', '-c', command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode > 1 or not done.stdout.strip():
        sys.exit(f'{command}: exit {done.returncode}\n{done.stdout[-2000:]}')
    cpu = next((line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine()) if os.path.exists('/proc/cpuinfo') else platform.machine()
    out = re.sub(r'\x1b\[[0-9;]*m', '', done.stdout).replace(ROOT + '/', '').replace(os.path.expanduser('~'), '~').strip()
    out = '\n'.join(line.rstrip() for line in out.split('\n'))
    day = datetime.date.today().isoformat()
    return f'<!-- {name} -->\n## {title}\n\n`{command}`, {day}, {cpu}, {os.cpu_count()} cores, load {load:.1f} at the beginning. {words}\n\n```text\n{out}\n```\n<!-- end -->\n'


def main():
    names = [s[0] for s in SECTIONS]
    p = argparse.ArgumentParser(usage='bench/peers/run [SECTION ...]', formatter_class=argparse.RawDescriptionHelpFormatter,
                                description='Writes docs/peers.md from what the benchmarks print. Sections that are not named stay as they are; without a name all are measured, for an hour or two.',
                                epilog='sections:\n' + '\n'.join(f'  {n:10s}{c}' for n, _, c, _ in SECTIONS) + '\n\nexample:\n  bench/peers/run nodes latency')
    p.add_argument('section', nargs='*', help='which to measure anew')
    a = p.parse_args()
    for s in a.section:
        if s not in names:
            p.error(f'there is no section {s!r}')
    page = existing()
    for s in SECTIONS:
        if not a.section or s[0] in a.section:
            print(s[2], flush=True)
            page[s[0]] = measure(*s)
            text = HEAD + ''.join('\n' + page[n] for n in names if n in page)
            with open(PAGE, 'w', encoding='utf-8') as f:
                f.write(text)
    print('wrote docs/peers.md')


main()
