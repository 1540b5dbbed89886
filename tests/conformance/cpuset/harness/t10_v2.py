# The parts of the recording's program that need neither the memory nor the disks of real processes.
from cst import *
import threading
note('kernel %s root=%s (cgroup2)' % (os.uname().release, ROOT))
def rd(x):
    try: return open(p(x)).read()
    except OSError as e: return 'ERR ' + en(e.errno)
def eff(*gs):
    for g in gs:
        d = {}
        for f in ('cpuset.cpus', 'cpuset.cpus.effective', 'cpuset.mems', 'cpuset.mems.effective', 'cpuset.cpus.partition', 'cgroup.type'):
            if os.path.exists(p(g + '/' + f)): d[f.replace('cpuset.', '').replace('cgroup.', '')] = rd(g + '/' + f).strip()
        log('    %s: %s' % (g, d))
sec('root files')
for f in sorted(os.listdir(ROOT)):
    s = os.lstat(p(f))
    if stat.S_ISDIR(s.st_mode): continue
    c = open(p(f)).read() if s.st_mode & 0o444 else None
    if c is not None and len(c) > 200: c = c[:200] + '...'
    if f in ('cgroup.procs', 'cgroup.threads'): c = '<pids>'
    log('%-32s %o %s' % (f, s.st_mode & 0o777, 'write-only' if c is None else q(c)))
st('.'); r('cgroup.controllers'); r('cgroup.subtree_control')
sec('subtree_control grammar')
for v in ('+cpuset', '+cpuset\n', '+cpuset +memory', '-memory', 'cpuset', '+nope', '+cpuset -cpuset', '-cpuset +cpuset', '+ cpuset', '', '\n', ' ', '+cpuset\t+memory', '+cpuset,+memory', '-cpuset', '-cpuset', '+cpu +cpuset +memory +io +pids'):
    w('cgroup.subtree_control', v); log('    now %s' % q(open(p('cgroup.subtree_control')).read()))
sec('child files without and with controllers')
mkdir('a'); log('  ' + ' '.join(sorted(os.listdir(p('a'))))); mkdir('a/b'); log('  grandchild, parent subtree_control empty: ' + ' '.join(sorted(os.listdir(p('a/b'))))); 
for f in sorted(os.listdir(p('a'))):
    s = os.lstat(p('a/' + f))
    if stat.S_ISDIR(s.st_mode): continue
    try: c = open(p('a/' + f)).read() if s.st_mode & 0o444 else None
    except OSError as e: c = 'ERR ' + en(e.errno)
    log('a/%-32s %o %s' % (f, s.st_mode & 0o777, 'write-only' if c is None else q(c[:160])))
w('a/cgroup.subtree_control', '+hugetlb'); note('^ not in a/cgroup.controllers'); r('a/cgroup.controllers')
w('a/cgroup.subtree_control', '+cpuset'); log('  grandchild now: ' + ' '.join(sorted(x for x in os.listdir(p('a/b')) if x.startswith('cpuset')))); w('cgroup.subtree_control', '-cpuset'); note('^ child still uses it'); w('a/cgroup.subtree_control', '-cpuset'); log('  grandchild files removed: %s' % (not [x for x in os.listdir(p('a/b')) if x.startswith('cpuset')])); w('a/cgroup.subtree_control', '+cpuset')
sec('effective inheritance; writes are not checked against the parent')
eff('a', 'a/b')
for f, v in (('a/cpuset.mems', '1-2'), ('a/b/cpuset.mems', '0'), ('a/b/cpuset.mems', '2-3'), ('a/cpuset.mems', '0'), ('a/cpuset.mems', '\n'), ('a/b/cpuset.mems', '\n'), ('a/cpuset.cpus', '2-3'), ('a/b/cpuset.cpus', '7'), ('a/b/cpuset.cpus', '3-5'), ('a/cpuset.cpus', '\n'), ('a/b/cpuset.cpus', '\n'), ('a/cpuset.mems', '9'), ('a/cpuset.mems', '0-9'), ('a/cpuset.mems', '1023'), ('a/cpuset.mems', '1024'), ('a/cpuset.cpus', '8'), ('a/cpuset.cpus', '0-7'), ('a/cpuset.mems', 'x')):
    w(f, v); eff('a', 'a/b')
w('cpuset.mems', '0'); w('cpuset.mems.effective', '0'); w('cpuset.cpus.effective', '0'); w('a/cpuset.mems.effective', '0')
sec('tasks in a group with empty mems/cpus are fine; emptying with tasks')
pid = sleeper(); s = str(pid); rmdir('a/b'); w('a/cgroup.subtree_control', '-cpuset'); w('a/cpuset.mems', '\n', quiet=True); w('a/cpuset.cpus', '\n', quiet=True); w('a/cgroup.procs', s); w('a/cpuset.mems', '1'); w('a/cpuset.mems', '\n'); w('a/cpuset.mems', ''); w('a/cpuset.cpus', '1'); w('a/cpuset.cpus', '\n'); eff('a'); 
def al(): return [l.strip().split('\t')[1] for l in open('/proc/%d/status' % pid) if l.startswith(('Mems_allowed_list', 'Cpus_allowed_list'))]
log('    task cpus/mems: %s  /proc/PID/cpuset=%s  /proc/PID/cgroup=%s' % (al(), open('/proc/%d/cpuset' % pid).read().strip(), open('/proc/%d/cgroup' % pid).read().strip()))
sec('cgroup.procs grammar and rules')
for v in (s, s + '\n', '0x%x' % pid, s + ' ' + s, 'x', '', '-1', '999999', '2', '0'): 
    x = w('a/cgroup.procs', v.replace(s, s), quiet=True); log('write a/cgroup.procs %s -> %s' % (q(v.replace(s, '<A>')), x if x >= 0 else en(-x))); 
w('cgroup.procs', '0', quiet=True)
log('    order is not sorted: attach order of three tasks'); ks = [sleeper() for _ in range(3)]
for k in reversed(ks): w('a/cgroup.procs', str(k), quiet=True)
got = [int(x) for x in open(p('a/cgroup.procs')).read().split()]; log('    written %s, listed %s (A first: %s)' % ([ks.index(k) for k in reversed(ks)], [ks.index(k) for k in got if k in ks], got[0] == pid))
sec('no internal processes')
w('a/cgroup.subtree_control', '+cpuset'); note('^ cpuset is a threaded controller, populated group'); eff('a'); w('a/cgroup.subtree_control', '-cpuset'); w('a/cgroup.subtree_control', '+memory'); note('^ memory is a domain controller, populated group'); mkdir('a/b'); w('a/cgroup.subtree_control', '+memory'); w('a/cgroup.subtree_control', '+cpuset'); eff('a', 'a/b'); w('a/b/cgroup.procs', s); w('a/cgroup.subtree_control', '-cpuset')
for k in ks: w('cgroup.procs', str(k), quiet=True)
w('cgroup.procs', s); w('a/cgroup.subtree_control', '+memory'); w('a/cgroup.procs', s); note('^ attach to a group that has domain controllers enabled for children'); w('a/b/cgroup.procs', s); w('a/cgroup.subtree_control', '-memory'); w('a/cgroup.procs', s); w('cgroup.procs', s)
sec('cgroup.type / threads')
r('a/cgroup.type'); r('a/b/cgroup.type'); w('a/b/cgroup.type', 'threaded'); r('a/cgroup.type'); r('a/b/cgroup.type'); w('a/b/cgroup.type', 'domain'); w('a/b/cgroup.type', 'x'); w('a/cgroup.subtree_control', '+cpuset'); mkdir('a/c'); r('a/c/cgroup.type'); w('a/c/cgroup.procs', s); r('a/b/cgroup.procs'); w('a/b/cgroup.procs', s); w('a/cgroup.procs', s); w('a/b/cgroup.threads', s); r('a/b/cgroup.threads'); log('    a/cgroup.procs lists it: %s' % (s in rd('a/cgroup.procs').split())); w('a/cgroup.subtree_control', '+memory'); w('a/cgroup.subtree_control', '+cpuset'); eff('a', 'a/b', 'a/c'); w('cgroup.procs', s); rmdir('a/b'); rmdir('a/c'); r('a/cgroup.type'); w('a/cgroup.threads', s); w('cgroup.procs', s); w('a/cgroup.subtree_control', '-cpuset'); w('a/cgroup.type', 'threaded'); r('a/cgroup.type'); r('a/cgroup.procs'); mkdir('a/z'); r('a/z/cgroup.type'); rmdir('a/z'); rmdir('a'); mkdir('a')
sec('partitions')
mkdir('b'); w('a/cpuset.cpus', '\n', quiet=True); w('b/cpuset.cpus', '\n', quiet=True)
def P_(g, v): w(g + '/cpuset.cpus.partition', v); log('    -> %s ; root eff cpus=%s' % (q(open(p(g + '/cpuset.cpus.partition')).read()), open(p('cpuset.cpus.effective')).read().strip())); 
for v in ('root', 'member'): P_('a', v)
w('a/cpuset.cpus', '2-3'); 
for v in ('root', 'isolated', 'root', 'member', 'isolated', 'member', 'root\n', ' root ', 'Root', 'x', '', '1', 'invalid', 'root invalid'): P_('a', v)
P_('a', 'root'); eff('a', 'b'); w('b/cpuset.cpus', '3-4'); eff('a', 'b'); note('^ sibling overlap invalidates'); w('b/cpuset.cpus', '4-5'); eff('a', 'b'); P_('a', 'root'); P_('a', 'member'); P_('a', 'root'); P_('b', 'root'); w('b/cpuset.cpus', '3'); eff('a', 'b'); P_('a', 'member'); P_('b', 'member'); w('b/cpuset.cpus', '\n')
w('a/cgroup.subtree_control', '+cpuset'); mkdir('a/c'); w('a/c/cpuset.cpus', '3'); P_('a/c', 'root'); note('^ parent is member'); P_('a', 'root'); eff('a', 'a/c'); P_('a/c', 'root'); eff('a', 'a/c'); w('a/c/cpuset.cpus', '2-3'); eff('a', 'a/c'); w('a/cgroup.procs', s); note('^ a has no effective cpu left'); w('a/c/cpuset.cpus', '3'); w('a/cgroup.procs', s); w('a/c/cpuset.cpus', '2-3'); eff('a', 'a/c'); P_('a', 'member'); eff('a', 'a/c'); w('cgroup.procs', s); rmdir('a/c'); w('a/cpuset.cpus', '0-7'); P_('a', 'root'); note('^ all cpus of a populated root'); P_('a', 'member'); w('a/cpuset.cpus', '\n'); w('a/cpuset.cpus', '2-3', quiet=True); P_('a', 'root'); rmdir('a'); log('    after rmdir of a valid partition: root eff cpus=%s' % open(p('cpuset.cpus.effective')).read().strip()); rmdir('b')
w('cpuset.cpus.partition', 'member'); 
note('errors on hotplug'); mkdir('a'); w('a/cpuset.cpus', '3', quiet=True); P_('a', 'root'); w('a/cgroup.procs', s, quiet=True); open('/sys/devices/system/cpu/cpu3/online', 'w').write('0'); time.sleep(0.4); eff('a'); open('/sys/devices/system/cpu/cpu3/online', 'w').write('1'); time.sleep(0.4); eff('a'); w('cgroup.procs', s, quiet=True); rmdir('a')
reap()
sec('misc: rename, files, events, stat, kill, freeze')
mkdir('a'); rename('a', 'a2'); st('a'); r('a/cgroup.events'); r('a/cgroup.stat'); r('a/cgroup.max.depth'); w('a/cgroup.max.descendants', '0'); mkdir('a/x'); w('a/cgroup.max.descendants', 'max'); w('a/cgroup.max.depth', '0'); mkdir('a/x'); w('a/cgroup.max.depth', 'max'); pid = sleeper(); w('a/cgroup.procs', str(pid), quiet=True); r('a/cgroup.events'); rmdir('a'); w('a/cgroup.kill', '0'); w('a/cgroup.kill', '1'); log('    wait status: %s' % hex(os.waitpid(pid, 0)[1])); SLEEPERS.clear(); r('a/cgroup.events'); mkdir('a/x\ny'); mkdir('cgroup.foo'); rmdir('cgroup.foo'); rmdir('a')
