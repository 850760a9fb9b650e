"""Parts that run on real models: nodes, correct, speed, latency."""
import math
import statistics
import time

import onnx

from common import PEERS, Run, count, custom, geo, session, stem


def nodes(b):
    """-O2 against the peers that keep to the standard's operators, -O3 against ONNX Runtime's extended level."""
    names = list(PEERS)
    print(f'{"model":26s}{"original":>9s}{"-O2":>7s}{"-O3":>7s}' + ''.join(f'{n:>13s}' for n in names) + '   (* does not run, is wrong, or has operators of another domain)')
    worse, worse3, n = [], [], 0
    for path in b.paths:
        o2, o3 = b.ours(path), b.ours(path, '-O3')
        if not o2 or not o3:
            worse.append(stem(path) + ' (failed)')
            continue
        own, cells, best = custom(onnx.load(path, load_external_data=False)), [], math.inf
        for p in names:
            out = b.good(p, path)
            counts = out and (own or not custom(onnx.load(out, load_external_data=False)))
            any_ = out or b.peer(p, path)
            cells.append(f'{count(any_) if any_ else "-"}{"" if counts else "*"}')
            if counts:
                best = min(best, count(out))
        n += 1
        extended = b.good('ort-extended', path)
        if count(o2) > best:
            worse.append(f'{stem(path)} ({count(o2)}, best peer {best})')
        if extended and count(o3) > count(extended):
            worse3.append(f'{stem(path)} ({count(o3)}, {count(extended)})')
        print(f'{stem(path):26s}{count(path):9d}{count(o2):7d}{count(o3):7d}' + ''.join(f'{c:>13s}' for c in cells), flush=True)
    b.bound(not worse, f'nodes: -O2 has no more than the best valid peer on {n - len(worse)} of {n} models' + listed(worse))
    b.bound(not worse3, f'nodes: -O3 has no more than ONNX Runtime\'s extended level on {n - len(worse3)} of {n} models' + listed(worse3))


def listed(x):
    return '; not on ' + ', '.join(x) if x else ''


def correct(b):
    for level in ('-O2', '-O3'):
        bad = []
        for path in b.paths:
            out, name = b.ours(path, level, 'auto'), stem(path)
            why = b.wrong(path, out, 2e-2 if 'int8' in name or 'quant' in name else 1e-4) if out else 'failed'
            if why:
                bad.append(f'{name} ({why})')
        b.bound(not bad, f'correct: {level} is valid and equal on {len(b.paths) - len(bad)} of {len(b.paths)} models' + listed(bad))


def speed(b):
    print(f'{"model":26s}{"ours ms":>9s}{"verified":>9s}{"onnxslim ms":>12s}{"times":>7s}{"onnxsim ms":>12s}{"times":>7s}{"CPU times":>11s}')
    ratios, sim, cpu = {}, {}, {}
    for path in b.paths:
        out = b.tmp + '/speed.onnx'
        best = min((Run([b.tool, '-q', '--verify=off', path, '-o', out]) for _ in range(5)), key=lambda r: r.wall)
        ours = best.wall
        verified = Run([b.tool, '-q', path, '-o', out]).wall
        peer = {k: Run(b.command(k, path, out)) for k in ('onnxslim', 'onnxsim')}
        ratios[stem(path)] = peer['onnxslim'].wall / ours
        sim[stem(path)] = peer['onnxsim'].wall / ours
        cpu[stem(path)] = peer['onnxslim'].cpu / best.cpu
        print(f'{stem(path):26s}{ours * 1e3:9.1f}{verified * 1e3:9.1f}{peer["onnxslim"].wall * 1e3:12.0f}{ratios[stem(path)]:7.0f}'
              f'{peer["onnxsim"].wall * 1e3:12.0f}{sim[stem(path)]:7.0f}{cpu[stem(path)]:11.0f}', flush=True)
    least = min(ratios, key=ratios.get)
    b.bound(geo(ratios.values()) >= 50, f'speed: {geo(ratios.values()):.1f} times faster than OnnxSlim by geometric mean (bound 50)')
    b.bound(ratios[least] >= 20, f'speed: at least {ratios[least]:.1f} times faster than OnnxSlim on each model, {least} (bound 20)')
    print(f'        in time of the CPU {geo(cpu.values()):.1f} times by geometric mean, least {min(cpu.values()):.1f}')
    print(f'        {geo(sim.values()):.1f} times faster than onnxsim by geometric mean, least {min(sim.values()):.1f}')


def latency(b):
    """The time of our result by that of each contender is taken within a round and the median over the rounds: what the machine does
    besides hits both. It is the thread's time of the CPU, so that it does not count when the machine does something else."""
    contenders = ['original'] + list(PEERS)
    print(f'{"model":26s}{"ours ms":>9s}' + ''.join(f'{c:>13s}' for c in contenders) + '   (medians of ours / theirs)')
    best, slow = {}, []
    for path in b.paths:
        name = stem(path)
        ours = b.ours(path)
        paths = {'ours': ours, 'original': path, **{p: b.good(p, path) for p in PEERS}}
        try:
            run = {k: session(p) for k, p in paths.items() if p}
            f = b.feeds(run['original'], name)
            for s in run.values():
                s.run(None, f)
        except Exception as e:
            print(f'{name:26s}  left out: {str(e).splitlines()[0][:90]}')
            continue
        took = rounds(run, f, b.rounds)
        ratio = {k: statistics.median(x / y for x, y in zip(took['ours'], took[k])) for k in run if k != 'ours'}
        best[name] = max(ratio.values())
        print(f'{name:26s}{statistics.median(took["ours"]) * 1e3:9.3f}' + ''.join(f'{ratio[c]:13.3f}' if c in ratio else f'{"-":>13s}' for c in contenders), flush=True)
        if best[name] > 1.05:
            slow.append(f'{name} ({best[name]:.3f} of {max(ratio, key=ratio.get)})')
    b.bound(not slow, f'latency: at most 1.05 of the best peer\'s time on {len(best) - len(slow)} of {len(best)} models' + listed(slow))
    b.bound(geo(best.values()) <= 1.0, f'latency: {geo(best.values()):.3f} of the best peer\'s time by geometric mean (bound 1.00)')


def rounds(run, feeds, n):
    """Times of n interleaved rounds by contender; each round begins with another one."""
    names, times = list(run), {k: [] for k in run}
    t = time.thread_time()
    run['original'].run(None, feeds)
    repeat = max(1, min(200, int(0.02 / max(time.thread_time() - t, 1e-6))))
    for i in range(n):
        for k in names[i % len(names):] + names[:i % len(names)]:
            t = time.thread_time()
            for _ in range(repeat):
                run[k].run(None, feeds)
            times[k].append((time.thread_time() - t) / repeat)
    return times
