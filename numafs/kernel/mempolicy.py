# SPDX-License-Identifier: MIT
"""Memory policies: what they are, where they let pages come from, how they follow a cpuset.

mm/mempolicy.c and mm/filemap.c:filemap_alloc_folio() (v6.1). mbind() is in `mbind`, moving
pages in `migrate`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from . import page_alloc
from .errors import EFAULT, EINVAL, ENOENT
from .gfp import GFP_HIGHUSER_MOVABLE, GFP_KERNEL, Gfp, gfp_zone
from .nodemask import Mask, fold, list_text, members, next_member_in, nth, onto, remap, weight
from .page import Kind
from .weighted_interleave import interleave_turn

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .mm import Mm, Task, Vma
    from .page_alloc import Placement

__all__ = [
    "INTERLEAVING", "MPOL_F_ADDR", "MPOL_F_MEMS_ALLOWED", "MPOL_F_NODE", "MPOL_F_NUMA_BALANCING",
    "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES", "MPOL_MODE_FLAGS", "WINDOW", "Mempolicy", "Mode", "SharedPolicy",
    "file_placements",
    "get_mempolicy", "get_nodes", "get_vma_policy", "migrates_on_fault", "mpol_dup", "mpol_equal", "mpol_new",
    "mpol_rebind_mm", "mpol_rebind_policy", "mpol_rebind_task", "mpol_set_nodemask", "mpol_to_str", "placement",
    "placements", "sanitize_mpol_flags", "set_mempolicy", "vma_policy",
]


class Mode(IntEnum):
    """MPOL_*: the modes of include/uapi/linux/mempolicy.h."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3
    LOCAL = 4
    PREFERRED_MANY = 5
    WEIGHTED_INTERLEAVE = 6
    """With the feature weighted_interleave."""


MPOL_F_STATIC_NODES = 0x8000
MPOL_F_RELATIVE_NODES = 0x4000
MPOL_F_NUMA_BALANCING = 0x2000
MPOL_MODE_FLAGS = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING

MPOL_F_NODE = 1
MPOL_F_ADDR = 2
MPOL_F_MEMS_ALLOWED = 4

UINT = 1 << 32
WINDOW = 65536
"""Pages of an interleaved stretch that are handed out together, so that its lanes fill side by side."""

_TEXT = {
    Mode.DEFAULT: "default", Mode.PREFERRED: "prefer", Mode.BIND: "bind", Mode.INTERLEAVE: "interleave",
    Mode.LOCAL: "local", Mode.PREFERRED_MANY: "prefer (many)", Mode.WEIGHTED_INTERLEAVE: "weighted interleave",
}

INTERLEAVING = (Mode.INTERLEAVE, Mode.WEIGHTED_INTERLEAVE)


@dataclass(slots=True)
class Mempolicy:
    """A policy of a task or of a VMA (struct mempolicy)."""

    mode: Mode
    flags: int = 0
    nodes: Mask = 0
    """The nodes in effect."""
    user_nodes: Mask = 0
    """With STATIC or RELATIVE: the mask as the user gave it."""
    cpuset_mems: Mask = 0
    """Without them: the mems_allowed that `nodes` refer to."""
    home_node: int = -1

    @property
    def stores_user_nodes(self) -> bool:
        """mpol_store_user_nodemask()."""
        return bool(self.flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES))


class SharedPolicy:
    """Policies of stretches of a shared-memory file, by page offset (struct shared_policy)."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, int, Mempolicy]] = []

    def lookup(self, index: int) -> Mempolicy | None:
        """mpol_shared_policy_lookup()."""
        i = bisect_right(self._parts, index, key=lambda part: part[0]) - 1
        if i >= 0 and self._parts[i][1] > index:
            return self._parts[i][2]
        return None

    def set(self, start: int, stop: int, policy: Mempolicy | None) -> None:
        """mpol_set_shared_policy(): the pages [start, stop) have this policy, or none of their own."""
        parts: list[tuple[int, int, Mempolicy]] = []
        for a, b, old in self._parts:
            if a < min(b, start):
                parts.append((a, min(b, start), old))
            if max(a, stop) < b:
                parts.append((max(a, stop), b, old))
        if policy:
            parts.append((start, stop, mpol_dup(policy)))
        self._parts = sorted(parts, key=lambda part: part[0])

    def stretches(self, start: int, stop: int) -> Iterator[tuple[int, int, Mempolicy | None]]:
        """[start, stop) cut where the policy changes."""
        for a, b, policy in self._parts:
            if b <= start or a >= stop:
                continue
            if a > start:
                yield start, a, None
            yield max(a, start), min(b, stop), policy
            start = min(b, stop)
        if start < stop:
            yield start, stop, None


# ---------------------------------------------------------------- making a policy


def sanitize_mpol_flags(mode: int, features: frozenset[str] = frozenset()) -> tuple[Mode, int]:
    """A mode argument, taken apart into mode and flags."""
    flags = mode & MPOL_MODE_FLAGS
    mode &= ~MPOL_MODE_FLAGS
    unknown = mode == Mode.WEIGHTED_INTERLEAVE and "weighted_interleave" not in features
    if mode not in Mode.__members__.values() or unknown:
        raise EINVAL(f"no memory policy has mode {mode}")
    if flags & MPOL_F_STATIC_NODES and flags & MPOL_F_RELATIVE_NODES:
        raise EINVAL("static and relative nodes exclude each other")
    many = mode == Mode.PREFERRED_MANY and "balancing_preferred_many" in features
    if flags & MPOL_F_NUMA_BALANCING and mode != Mode.BIND and not many:
        raise EINVAL("balancing does not go with this mode")
    return Mode(mode), flags


def get_nodes(kernel: Kernel, mask: Mask | None, maxnode: int) -> Mask:
    """The node mask that a system call was given: `maxnode` is one more than the bits it looks at."""
    maxnode -= 1
    if maxnode == 0 or mask is None:
        return 0
    if not 0 < maxnode <= kernel.machine.page_size * 8:
        raise EINVAL(f"maxnode {maxnode + 1} is beyond a page of bits")
    mask &= (1 << maxnode) - 1
    if mask >> kernel.machine.max_numnodes:
        raise EINVAL(f"nodes beyond {kernel.machine.max_numnodes - 1} in the mask")
    return mask


def mpol_new(mode: Mode, flags: int, nodes: Mask) -> Mempolicy | None:
    """A policy without its nodes; None for MPOL_DEFAULT."""
    if mode == Mode.DEFAULT:
        if nodes:
            raise EINVAL("the default policy takes no nodes")
        return None
    own = flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)
    if mode == Mode.PREFERRED:
        if not nodes and own:
            raise EINVAL("static or relative nodes, but no node")
        if not nodes:
            mode = Mode.LOCAL
    elif mode == Mode.LOCAL:
        if nodes or own:
            raise EINVAL("the local policy takes no nodes")
    elif not nodes:
        raise EINVAL(f"policy {_TEXT[mode]} without a node")
    return Mempolicy(mode, flags)


def mpol_set_nodemask(kernel: Kernel, task: Task, policy: Mempolicy | None, nodes: Mask) -> None:
    """Give a new policy the nodes that the user named, as far as `task` may have them."""
    if policy is None or policy.mode == Mode.LOCAL:
        return
    allowed = task.mems_allowed & kernel.node_states_memory
    relative = policy.flags & MPOL_F_RELATIVE_NODES
    effective = mpol_relative_nodemask(nodes, allowed) if relative else nodes & allowed
    if not effective:
        raise EINVAL(f"none of nodes {list_text(nodes)} is among mems_allowed {list_text(allowed)}")
    if policy.stores_user_nodes:
        policy.user_nodes = nodes
    else:
        policy.cpuset_mems = task.mems_allowed
    policy.nodes = effective & -effective if policy.mode == Mode.PREFERRED else effective


def mpol_relative_nodemask(nodes: Mask, relative_to: Mask) -> Mask:
    """User bit b means the (b mod n)-th of the n nodes of `relative_to`."""
    return onto(fold(nodes, weight(relative_to)), relative_to) if relative_to else 0


def mpol_dup(policy: Mempolicy) -> Mempolicy:
    """A copy, for a VMA that was split or a task that forks."""
    return replace(policy)


def mpol_equal(x: Mempolicy | None, y: Mempolicy | None) -> bool:
    """Do two VMAs' policies let them be merged?"""
    if x is None or y is None:
        return x is y
    if (x.mode, x.flags, x.home_node) != (y.mode, y.flags, y.home_node):
        return False
    if x.stores_user_nodes and x.user_nodes != y.user_nodes:
        return False
    return x.mode == Mode.LOCAL or x.nodes == y.nodes


# ---------------------------------------------------------------- system calls on the task's policy


def set_mempolicy(kernel: Kernel, task: Task, mode: int, mask: Mask | None, maxnode: int) -> None:
    """set_mempolicy(2): the policy of one thread (do_set_mempolicy)."""
    kind, flags = sanitize_mpol_flags(mode, kernel.features)
    nodes = get_nodes(kernel, mask, maxnode)
    policy = mpol_new(kind, flags, nodes)
    mpol_set_nodemask(kernel, task, policy, nodes)
    task.policy = policy
    if policy and policy.mode in INTERLEAVING:
        task.il_prev = kernel.machine.max_numnodes - 1
        task.il_weight = 0


def get_mempolicy(kernel: Kernel, task: Task, vpn: int | None, flags: int, maxnode: int | None) -> tuple[int, Mask]:
    """get_mempolicy(2): (mode with its flags, or a node; nodes). `maxnode` None: no mask was asked for."""
    if maxnode is not None and maxnode < len(kernel.nodes):
        raise EINVAL(f"a mask of {maxnode} bits cannot hold {len(kernel.nodes)} nodes")
    if flags & ~(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED):
        raise EINVAL(f"unknown flags {flags:#x}")
    if flags & MPOL_F_MEMS_ALLOWED:
        if flags != MPOL_F_MEMS_ALLOWED:
            raise EINVAL("mems_allowed is asked for alone")
        return 0, task.mems_allowed
    policy = task.policy
    if flags & MPOL_F_ADDR:
        vma = task.mm.find_vma(vpn) if task.mm and vpn is not None else None
        if vma is None:
            raise EFAULT("no mapping at the address")
        policy = vma_policy(vma, vpn or 0)
    elif vpn is not None:
        raise EINVAL("an address without MPOL_F_ADDR")
    return _policy_word(kernel, task, policy, flags, vpn), _policy_nodes(policy)


def _policy_word(kernel: Kernel, task: Task, policy: Mempolicy | None, flags: int, vpn: int | None) -> int:
    if flags & MPOL_F_NODE and flags & MPOL_F_ADDR:
        return lookup_node(kernel, task, vpn or 0)
    if flags & MPOL_F_NODE:
        if policy is None or policy.mode not in INTERLEAVING:
            raise EINVAL("the task does not interleave")
        if policy.mode == Mode.WEIGHTED_INTERLEAVE and task.il_weight:
            return task.il_prev
        return next_member_in(policy.nodes, task.il_prev)
    if policy is None:
        return Mode.DEFAULT
    return policy.mode | policy.flags


def _policy_nodes(policy: Mempolicy | None) -> Mask:
    if policy is None:
        return 0
    return policy.user_nodes if policy.stores_user_nodes else policy.nodes


def lookup_node(kernel: Kernel, task: Task, vpn: int) -> int:
    """The node of the page at `vpn`, which is faulted in for it."""
    from .memory import touch

    touch(kernel, task, vpn, vpn + 1, write=False)
    vma = task.mm.find_vma(vpn) if task.mm else None
    for segment, a, b in vma.present(vpn, vpn + 1) if vma else ():
        for run, _, _ in segment.space.find(a - segment.delta, b - segment.delta):
            if run.resident:
                return run.zone.pgdat.nid
    # The zero page is in the kernel's image.
    if vma and vma.file is None:
        return kernel.online_nodes[0].nid
    raise ENOENT("no page at the address")


# ---------------------------------------------------------------- which policy


def vma_policy(vma: Vma, vpn: int) -> Mempolicy | None:
    """The policy of the mapping itself at a page: that of the file if it is shared memory (__get_vma_policy)."""
    if vma.shared and vma.file is not None and vma.file.space.kind == Kind.SHMEM:
        shared: SharedPolicy | None = vma.file.shared_policy
        return shared.lookup(vma.pgoff + vpn - vma.start) if shared else None
    return vma.policy


def get_vma_policy(vma: Vma, task: Task | None, vpn: int | None = None) -> Mempolicy | None:
    """The policy in effect at a page of a mapping (default its first); None is the system's default."""
    own = vma_policy(vma, vma.start if vpn is None else vpn)
    return own or (task.policy if task else None)


def migrates_on_fault(policy: Mempolicy) -> bool:
    """MPOL_F_MOF: may NUMA hint faults move its pages? Of a user's policies, only one that balances over its nodes."""
    return bool(policy.flags & MPOL_F_NUMA_BALANCING)


def local_node(kernel: Kernel, task: Task) -> int:
    """numa_node_id()."""
    return kernel.cpu_to_node[task.cpu]


def policy_node(policy: Mempolicy, local: int) -> int:
    """The node whose zonelist is walked."""
    if policy.mode == Mode.PREFERRED:
        return nth(policy.nodes, 0)
    if policy.mode in (Mode.BIND, Mode.PREFERRED_MANY) and policy.home_node >= 0:
        return policy.home_node
    return local


def policy_nodemask(kernel: Kernel, task: Task, policy: Mempolicy, gfp: Gfp) -> Mask | None:
    """The nodes that a request is filtered by; None for all."""
    if policy.mode == Mode.PREFERRED_MANY:
        return policy.nodes
    if policy.mode != Mode.BIND or not policy.nodes & task.mems_allowed:
        return None
    return policy.nodes if apply_policy_zone(kernel, policy, gfp) else None


def apply_policy_zone(kernel: Kernel, policy: Mempolicy, gfp: Gfp) -> bool:
    """Does a binding hold for the zones that the request can use? Not for DMA memory where there is more."""
    movable = kernel.machine.zone_types.index("Movable")
    lowest = page_alloc.policy_zone(kernel)
    if not any(zone.populated for nid in members(policy.nodes) for zone in kernel.nodes[nid].zones[:movable]):
        lowest = movable
    return gfp_zone(kernel, gfp) >= lowest


def _place(kernel: Kernel, task: Task, policy: Mempolicy | None, gfp: Gfp) -> Placement:
    """What every policy but interleaving makes of a request."""
    local = local_node(kernel, task)
    if policy is None:
        return page_alloc.Placement(local)
    many = policy.mode == Mode.PREFERRED_MANY
    return page_alloc.Placement(policy_node(policy, local), policy_nodemask(kernel, task, policy, gfp), many=many)


# ---------------------------------------------------------------- where pages go


def placement(kernel: Kernel, task: Task, gfp: Gfp = GFP_KERNEL) -> Placement:
    """One allocation without a VMA: a page table, a slab, a pipe buffer (alloc_pages)."""
    policy = task.policy
    if gfp & Gfp.THISNODE:
        policy = None
    if policy and policy.mode in INTERLEAVING:
        return page_alloc.Placement(interleave_nodes(kernel, task, policy), interleave=True)
    return _place(kernel, task, policy, gfp)


def interleave_nodes(kernel: Kernel, task: Task, policy: Mempolicy) -> int:
    """The next node of the task's own rotor, which weights let rest on a node for some pages."""
    if policy.mode == Mode.WEIGHTED_INTERLEAVE:
        return _rotor(kernel, task, policy, 1)[1]
    task.il_prev = next_member_in(policy.nodes, task.il_prev)
    return task.il_prev


def _rotor(kernel: Kernel, task: Task, policy: Mempolicy, n: int) -> tuple[list[int], int]:
    """Turn the rotor by `n` pages: the round as it begins with the first of them, and the node of the last.

    mm/mempolicy.c:weighted_interleave_nodes() (v6.18), n times.
    """
    nodes, weighted = policy.nodes, policy.mode == Mode.WEIGHTED_INTERLEAVE
    turn = interleave_turn(kernel, nodes, weighted=weighted)
    if weighted and task.il_weight and nodes >> task.il_prev & 1:
        left = min(task.il_weight, turn.count(task.il_prev))
        first = turn.index(task.il_prev) + turn.count(task.il_prev) - left
    else:
        first = turn.index(next_member_in(nodes, task.il_prev))
    last = (first + n - 1) % len(turn)
    task.il_prev = turn[last]
    task.il_weight = turn[last + 1 :].count(turn[last])
    return turn[first:] + turn[:first], task.il_prev


def placements(
    kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, order: int = 0
) -> Iterator[tuple[range, Placement]]:
    """Where the anonymous (or hugetlb) pages of the faults at [start, stop) of a mapping go (vma_alloc_folio).

    Blocks of 2**order pages; the ranges hold their first pages. Pages of files are not the mapping's matter:
    see `file_placements`.
    """
    policy = get_vma_policy(vma, task, start)
    step = 1 << order
    if policy is None or policy.mode not in INTERLEAVING:
        yield range(start, stop, step), _place(kernel, task, policy, GFP_HIGHUSER_MOVABLE)
        return
    base = (vma.pgoff >> order) - (vma.start >> order)
    yield from _deal(kernel, _turn(kernel, policy), range(start, stop, step), base + (start >> order))


def _turn(kernel: Kernel, policy: Mempolicy) -> list[int]:
    return interleave_turn(kernel, policy.nodes, weighted=policy.mode == Mode.WEIGHTED_INTERLEAVE)


def _deal(kernel: Kernel, order: list[int], pages: range, index: int) -> Iterator[tuple[range, Placement]]:
    """Deal `pages` out over the nodes of a round, the first to the one at `index` (offset_il_node).

    The kernel counts in an unsigned int: at each multiple of 2**32 pages the dealing begins anew. Newer ones don't.
    """
    width = len(order)
    here = pages
    if not kernel.has("wide_interleave_index"):
        index %= UINT
        here = pages[: UINT - index]
    rounds = max(WINDOW // width, 1) * width
    for begin in range(0, len(here), rounds):
        window = here[begin : begin + rounds]
        for i in range(min(width, len(window))):
            yield window[i::width], page_alloc.Placement(order[(index + i) % width], interleave=True)
    if len(here) < len(pages):
        yield from _deal(kernel, order, pages[len(here) :], 0)


def file_placements(
    kernel: Kernel, task: Task, inode: Inode, start: int, stop: int
) -> Iterator[tuple[range, Placement]]:
    """Where the pages [start, stop) of a file's page cache go when `task` brings them in.

    A cpuset that spreads comes before the task's policy; both turn a rotor of the task. Shared
    memory asks its own policy, and interleaves by offset and inode number.
    """
    if inode.space.kind == Kind.SHMEM:
        yield from _shmem_placements(kernel, task, inode, start, stop)
    elif task.spread_page:
        yield from _spread(kernel, task, range(start, stop))
    elif task.policy and task.policy.mode in INTERLEAVING:
        yield from _deal(kernel, _rotor(kernel, task, task.policy, stop - start)[0], range(start, stop), 0)
    else:
        yield range(start, stop), _place(kernel, task, task.policy, GFP_HIGHUSER_MOVABLE)


def _spread(kernel: Kernel, task: Task, pages: range) -> Iterator[tuple[range, Placement]]:
    """cpuset_mem_spread_node(), once a page; these placements are no interleaving of a policy."""
    order = list(members(task.mems_allowed))
    if task.spread_rotor < 0:
        task.spread_rotor = kernel.random.choice(order)
    first = order.index(next_member_in(task.mems_allowed, task.spread_rotor))
    task.spread_rotor = order[(first + len(pages) - 1) % len(order)]
    for part, where in _deal(kernel, order, pages, first):
        yield part, replace(where, interleave=False)


def _shmem_placements(
    kernel: Kernel, task: Task, inode: Inode, start: int, stop: int
) -> Iterator[tuple[range, Placement]]:
    shared: SharedPolicy | None = inode.shared_policy
    for a, b, own in shared.stretches(start, stop) if shared else ((start, stop, None),):
        policy = own or task.policy
        if policy and policy.mode in INTERLEAVING:
            yield from _deal(kernel, _turn(kernel, policy), range(a, b), a + inode.ino)
        else:
            yield range(a, b), _place(kernel, task, policy, GFP_HIGHUSER_MOVABLE)


# ---------------------------------------------------------------- following the cpuset


def mpol_rebind_policy(policy: Mempolicy | None, mems: Mask) -> None:
    """The cpuset's mems are now `mems`: let the policy's nodes follow.

    6.1 keeps the user's mask and the cpuset's mems in one union, and rebinding a preferred
    policy writes the latter; so its user mask reads as the cpuset's from then on.
    """
    if policy is None or policy.mode == Mode.LOCAL:
        return
    if not policy.stores_user_nodes and policy.cpuset_mems == mems:
        return
    if policy.mode in (Mode.PREFERRED, Mode.PREFERRED_MANY):
        if policy.stores_user_nodes:
            policy.user_nodes = mems
        else:
            policy.cpuset_mems = mems
        return
    policy.nodes = _rebound_nodes(policy, mems) or mems
    if not policy.stores_user_nodes:
        policy.cpuset_mems = mems


def _rebound_nodes(policy: Mempolicy, mems: Mask) -> Mask:
    """mpol_rebind_nodemask(): lossy without flags, since it starts from what the last rebind left."""
    if policy.flags & MPOL_F_STATIC_NODES:
        return policy.user_nodes & mems
    if policy.flags & MPOL_F_RELATIVE_NODES:
        return mpol_relative_nodemask(policy.user_nodes, mems)
    return remap(policy.nodes, policy.cpuset_mems, mems)


def mpol_rebind_task(task: Task, mems: Mask) -> None:
    """Rebind the policy of one thread."""
    mpol_rebind_policy(task.policy, mems)


def mpol_rebind_mm(mm: Mm, mems: Mask) -> None:
    """Rebind the policies of an address space's mappings."""
    for vma in mm.vmas:
        mpol_rebind_policy(vma.policy, mems)


# ---------------------------------------------------------------- text


def mpol_to_str(policy: Mempolicy | None) -> str:
    """`bind=static:1-2`: as numa_maps prints it, with the nodes in effect."""
    if policy is None:
        return "default"
    text = _TEXT[policy.mode]
    names = [
        name
        for flag, name in (
            (MPOL_F_STATIC_NODES, "static"), (MPOL_F_RELATIVE_NODES, "relative"), (MPOL_F_NUMA_BALANCING, "balancing"),
        )
        if policy.flags & flag
    ]
    if names:
        text += "=" + "|".join(names)
    if policy.mode != Mode.LOCAL:
        text += ":" + list_text(policy.nodes)
    return text
