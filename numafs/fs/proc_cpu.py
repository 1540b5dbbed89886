# SPDX-License-Identifier: MIT
"""/proc/{stat,cpuinfo,uptime,loadavg,interrupts,softirqs}, /proc/irq: the CPUs' time and kind, and who interrupts them.

fs/proc/{stat,interrupts,softirqs}.c, kernel/irq/proc.c, arch/x86/kernel/{irq.c,cpu/proc.c} (v6.1).

Simplified: modelled CPUs are idle all the time, whatever their tasks did; interrupts and context switches are not
counted, and no device has an interrupt; every x86 CPU calls itself the one of QEMU's emulation that the recordings
were made on.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from numafs.kernel.errors import EINVAL
from numafs.kernel.nodemask import hex_mask, list_text, members, parse_hex, weight

from .attr import Attr, Caller
from .sysfs_cpu import package_cpus
from .sysfs_node import nr_cpu_ids
from .tree import PROC, Dir

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.machine.spec import Cpu

__all__ = ["CPU", "irq_dir"]

USER_HZ = 100
BOOT_TIME = 1_700_000_000
"""When every machine was booted, in seconds since 1970: a constant, for the model has no calendar."""

FLAGS = (
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush acpi mmx fxsr sse sse2 ss ht "
    "syscall nx mmxext pdpe1gb rdtscp lm 3dnowext 3dnow rep_good nopl cpuid extd_apicid pni pclmulqdq monitor "
    "ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand hypervisor lahf_lm cmp_legacy svm "
    "cr8_legacy abm sse4a 3dnowprefetch vmmcall fsgsbase bmi1 avx2 smep bmi2 erms mpx adx smap clflushopt clwb "
    "xsaveopt xgetbv1 arat npt vgif umip pku ospke vaes la57"
)
CPUINFO = """\
processor\t: {cpu}
vendor_id\t: AuthenticAMD
cpu family\t: 15
model\t\t: 107
model name\t: QEMU TCG CPU version 2.5+
stepping\t: 1
microcode\t: 0x1000065
cpu MHz\t\t: 2445.434
cache size\t: {cache_kb} KB
physical id\t: {socket}
siblings\t: {siblings}
core id\t\t: {core}
cpu cores\t: {cores}
apicid\t\t: {cpu}
initial apicid\t: {cpu}
fpu\t\t: yes
fpu_exception\t: yes
cpuid level\t: 13
wp\t\t: yes
flags\t\t: {flags}
bugs\t\t: fxsave_leak sysret_ss_attrs null_seg swapgs_fence amd_e400 spectre_v1 spectre_v2
bogomips\t: 4890.86
TLB size\t: 1024 4K pages
clflush size\t: 64
cache_alignment\t: 64
address sizes\t: 40 bits physical, 57 bits virtual
power management:

"""


def cpuinfo_show(kernel: Kernel) -> str:
    """One paragraph for each CPU on line."""
    cores = Counter(socket for (socket, _, _), cpus in kernel.machine.cores.items() if cpus & kernel.cpu_online)
    online = [cpu for cpu in kernel.machine.cpus if kernel.cpu_online >> cpu.cpu & 1]
    return "".join(_cpuinfo(kernel, cpu, cores[cpu.socket]) for cpu in online)


def _cpuinfo(kernel: Kernel, cpu: Cpu, cores: int) -> str:
    package = package_cpus(kernel, cpu)
    cache_kb = max((cache.size_kb for cache in cpu.caches if cache.level == 2), default=512)
    return CPUINFO.format(
        cpu=cpu.cpu, cache_kb=cache_kb, socket=cpu.socket, siblings=weight(package), core=cpu.core, cores=cores,
        flags=FLAGS,
    )


def stat_show(kernel: Kernel) -> str:
    """fs/proc/stat.c:show_stat() (v6.1)."""
    ticks = kernel.clock.now * USER_HZ // 10**9
    online = list(members(kernel.cpu_online))
    lines = [f"cpu  0 0 0 {ticks * len(online)} 0 0 0 0 0 0"]
    lines += [f"cpu{cpu} 0 0 0 {ticks} 0 0 0 0 0 0" for cpu in online]
    lines += ["intr 0", "ctxt 0", f"btime {BOOT_TIME}", f"processes {sum(1 for _ in kernel.tasks)}"]
    lines += ["procs_running 1", "procs_blocked 0", "softirq 0 0 0 0 0 0 0 0 0 0 0"]
    return "\n".join(lines) + "\n"


def uptime_show(kernel: Kernel) -> str:
    """Seconds since boot, and of idleness of all CPUs."""
    centis = kernel.clock.now // 10**7
    idle = centis * weight(kernel.cpu_online)
    return f"{centis // 100}.{centis % 100:02d} {idle // 100}.{idle % 100:02d}\n"


def loadavg_show(kernel: Kernel) -> str:
    """Nothing runs, of so many tasks."""
    pids = [task.pid for task in kernel.tasks]
    return f"0.00 0.00 0.00 1/{len(pids)} {max(pids, default=0)}\n"


INTERRUPTS = {
    "NMI": "Non-maskable interrupts", "LOC": "Local timer interrupts", "SPU": "Spurious interrupts",
    "PMI": "Performance monitoring interrupts", "IWI": "IRQ work interrupts", "RTR": "APIC ICR read retries",
    "RES": "Rescheduling interrupts", "CAL": "Function call interrupts", "TLB": "TLB shootdowns",
    "TRM": "Thermal event interrupts", "THR": "Threshold APIC interrupts", "DFR": "Deferred Error APIC interrupts",
    "MCE": "Machine check exceptions", "MCP": "Machine check polls",
}
SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")


def _heading(kernel: Kernel, indent: str) -> str:
    return indent + "".join(f"CPU{cpu:<8d}" for cpu in members(kernel.cpu_online)) + "\n"


def interrupts_show(kernel: Kernel) -> str:
    """kernel/irq/proc.c:show_interrupts() and arch_show_interrupts() (v6.1)."""
    zeros = f"{0:10d} " * weight(kernel.cpu_online)
    rows = [f"{name}: {zeros}  {what}\n" for name, what in INTERRUPTS.items()]
    return _heading(kernel, "           ") + "".join(rows) + f"ERR: {0:10d}\nMIS: {0:10d}\n"


def softirqs_show(kernel: Kernel) -> str:
    """fs/proc/softirqs.c:show_softirqs() (v6.1)."""
    zeros = f" {0:10d}" * weight(kernel.cpu_online)
    return _heading(kernel, " " * 20) + "".join(f"{name + ':':>13}{zeros}\n" for name in SOFTIRQS)


def default_smp_affinity_show(kernel: Kernel) -> str:
    """kernel/irq/proc.c:default_affinity_show() (v6.1)."""
    return hex_mask(kernel.irq_default_affinity, nr_cpu_ids(kernel)) + "\n"


def default_smp_affinity_store(kernel: Kernel, data: bytes, _caller: Caller) -> None:
    """Nothing comes of it: no device interrupts. kernel/irq/proc.c:default_affinity_write() (v6.1)."""
    cpus = parse_hex(data.split(b"\0", 1)[0].decode("latin-1"), nr_cpu_ids(kernel))
    if not cpus & kernel.cpu_online:
        raise EINVAL(f"none of CPUs {list_text(cpus)} is on line")
    kernel.irq_default_affinity = cpus


def irq_dir(kernel: Kernel) -> Dir:
    """The directory /proc/irq."""
    top = Dir(PROC, 0o555)
    top.add_files([Attr("default_smp_affinity", 0o644, default_smp_affinity_show, default_smp_affinity_store)], kernel)
    return top


CPU: tuple[Attr[Kernel], ...] = (
    Attr("cpuinfo", 0o444, cpuinfo_show),
    Attr("interrupts", 0o444, interrupts_show),
    Attr("loadavg", 0o444, loadavg_show),
    Attr("softirqs", 0o444, softirqs_show),
    Attr("stat", 0o444, stat_show),
    Attr("uptime", 0o444, uptime_show),
)
