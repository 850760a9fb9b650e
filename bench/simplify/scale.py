"""Part scale: time per node on generated models."""
import generate
from common import Run

LINEAR = ('transformer', 'cnn')


def made(b, kind, nodes):
    path = f'{b.tmp}/{kind}{nodes}.onnx'
    with open(path, 'wb') as f:
        f.write(getattr(generate, kind)(nodes).SerializeToString())
    return path


def least(b, paths, rounds=5):
    """The least wall time of our process for each path, interleaved."""
    out, took = b.tmp + '/scale.onnx', {}
    for _ in range(rounds):
        for p in paths:
            r = Run([b.tool, '-O2', '-q', '--verify=off', p, '-o', out])
            if r.code != 0:
                raise SystemExit(f'onnxopt failed on {p}')
            took[p] = min(took.get(p, r), r, key=lambda x: x.wall)
    return took


def scale(b):
    sizes = (1000, 10_000) if b.quick else (1000, 10_000, 100_000)
    begun = least(b, [made(b, 'chain', 10)], 10)
    start = min(r.wall for r in begun.values())
    print(f'a model of ten nodes takes {start * 1e3:.1f} ms, which is taken off below')
    print(f'{"model":14s}{"nodes":>8s}{"ms":>9s}{"us a node":>11s}{"growth":>8s}{"CPU us a node":>15s}{"MB":>8s}')
    for kind in LINEAR + ('chain', 'sizes'):
        paths = {n: made(b, kind, n) for n in sizes}
        took = least(b, paths.values())
        first = None
        for n, p in paths.items():
            each = (took[p].wall - start) / n * 1e6
            first = first or each
            print(f'{kind:14s}{n:8d}{took[p].wall * 1e3:9.0f}{each:11.1f}{each / first:8.2f}{took[p].cpu / n * 1e6:15.1f}{took[p].memory:8.0f}', flush=True)
        if kind in LINEAR:
            b.bound(each / first <= 1.2, f'scale: time per node of the {kind} grows by {each / first:.2f} from {sizes[0]:,} to {sizes[-1]:,} nodes (bound 1.2)')
    beside(b)


def beside(b):
    print(f'{"chain, nodes":14s}{"ours ms":>9s}{"onnxslim ms":>13s}{"times":>7s}{"onnxsim ms":>12s}{"times":>7s}{"CPU times":>11s}')
    out = b.tmp + '/scale.onnx'
    for n in (1000, 10_000) if b.quick else (1000, 10_000, 50_000):
        p = made(b, 'chain', n)
        sim = Run(b.command('onnxsim', p, out))
        slim = Run(b.command('onnxslim', p, out)) if n == 1000 or n == 10_000 and not b.quick else None
        best = least(b, [p])[p]
        ours = best.wall
        cells = f'{slim.wall * 1e3:13.0f}{slim.wall / ours:7.0f}' if slim else f'{"-":>13s}{"-":>7s}'
        print(f'{n:14d}{ours * 1e3:9.0f}{cells}{sim.wall * 1e3:12.0f}{sim.wall / ours:7.1f}{sim.cpu / best.cpu:11.1f}'
              + (' (stopped)' if sim.timeout or slim and slim.timeout else ''), flush=True)
        if n > 1000:
            b.bound(sim.wall >= 25 * ours, f'scale: {sim.wall / ours:.1f} times faster than onnxsim on the chain of {n:,} nodes, {sim.cpu / best.cpu:.1f} times in time of the CPU (bound 25)')
