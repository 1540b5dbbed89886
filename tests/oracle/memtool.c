// SPDX-License-Identifier: MIT
/* memtool - one static helper that makes a process allocate, touch, move and
 * account for memory, so that NUMA scenarios can be plain sh.
 *
 *   gcc -O2 -static -Wall -o memtool memtool.c
 *
 * Every region a memtool process owns starts at a FIXED address
 *      BASE + i * STRIDE  =  0x100000000000 + i * 0x1000000000
 * so the line of region i in /proc/PID/numa_maps begins with
 * 100000000000, 101000000000, 102000000000 ... on every run.
 *
 * Errors are printed as "memtool: WHAT: <strerror text>" and the exit status
 * is 1 (137 when the worker was killed by SIGKILL, e.g. the OOM killer).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BASE   0x100000000000UL
#define STRIDE 0x1000000000UL
#define MAXREG 64
#define PG     4096UL
#define MAXNODE 1024

/* ---- memory policy constants (linux/mempolicy.h), by value ---- */
enum { M_DEFAULT, M_PREFERRED, M_BIND, M_INTERLEAVE, M_LOCAL, M_PREFERRED_MANY,
       M_WEIGHTED };
#define F_STATIC    (1 << 15)
#define F_RELATIVE  (1 << 14)
#define F_NUMABAL   (1 << 13)
#define MPF_NODE 1
#define MPF_ADDR 2
#define MPF_MEMS 4
#define MB_STRICT 1
#define MB_MOVE 2
#define MB_MOVE_ALL 4

static const char *mode_names[] = { "default", "preferred", "bind", "interleave",
	"local", "preferred-many", "weighted-interleave" };

static FILE *out;		/* where replies go */

static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "memtool: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

static int err(const char *what)
{
	fprintf(out, "memtool: %s: %s\n", what, strerror(errno));
	return 1;
}

static unsigned long long size_arg(const char *s)
{
	char *e;
	unsigned long long v = strtoull(s, &e, 0);
	switch (*e) {
	case 'k': case 'K': v <<= 10; e++; break;
	case 'm': case 'M': v <<= 20; e++; break;
	case 'g': case 'G': v <<= 30; e++; break;
	case 'p': v *= PG; e++; break;
	}
	if (*e || e == s)
		die("bad size '%s'", s);
	return v;
}

/* ---- node lists: "0-2,5", "all" ---- */
struct mask { unsigned long w[MAXNODE / 64]; };

static int list_to_mask(const char *s, struct mask *m)
{
	memset(m, 0, sizeof *m);
	if (!*s || !strcmp(s, "none"))
		return 0;
	while (*s) {
		char *e;
		long a = strtol(s, &e, 10), b = a;
		if (e == s)
			return -1;
		if (*e == '-') {
			s = e + 1;
			b = strtol(s, &e, 10);
			if (e == s)
				return -1;
		}
		for (; a <= b; a++) {
			if (a < 0 || a >= MAXNODE)
				return -1;
			m->w[a / 64] |= 1UL << (a % 64);
		}
		s = e;
		if (*s == ',')
			s++;
		else if (*s && *s != '\n')
			return -1;
		else
			break;
	}
	return 0;
}

static void mask_to_list(const struct mask *m, char *buf)
{
	int i, any = 0;
	*buf = 0;
	for (i = 0; i < MAXNODE; i++) {
		if (!(m->w[i / 64] >> (i % 64) & 1))
			continue;
		int j = i;
		while (j + 1 < MAXNODE && (m->w[(j + 1) / 64] >> ((j + 1) % 64) & 1))
			j++;
		buf += sprintf(buf, any ? ",%d" : "%d", i);
		if (j > i)
			buf += sprintf(buf, "-%d", j);
		any = 1;
		i = j;
	}
	if (!any)
		strcpy(buf, "none");
}

/* ---- policy SPEC:  mode[=static|=relative|=balancing][:nodelist] ---- */
static int parse_spec(const char *spec, int *mode, struct mask *m, int *has)
{
	char b[512], *p, *q;
	unsigned i;
	snprintf(b, sizeof b, "%s", spec);
	*has = 0;
	memset(m, 0, sizeof *m);
	if ((p = strchr(b, ':'))) {
		*p++ = 0;
		*has = 1;
		if (list_to_mask(p, m))
			die("bad node list '%s'", p);
	}
	*mode = 0;
	if ((q = strchr(b, '='))) {
		*q++ = 0;
		char *t;
		for (t = strtok(q, "+"); t; t = strtok(NULL, "+"))
			if (!strcmp(t, "static")) *mode |= F_STATIC;
			else if (!strcmp(t, "relative")) *mode |= F_RELATIVE;
			else if (!strcmp(t, "balancing")) *mode |= F_NUMABAL;
			else die("bad policy flag '%s'", t);
	}
	if (isdigit(b[0])) {
		*mode |= atoi(b);
		return 0;
	}
	for (i = 0; i < sizeof mode_names / sizeof *mode_names; i++)
		if (!strcmp(b, mode_names[i])) {
			*mode |= i;
			return 0;
		}
	die("bad policy mode '%s'", b);
	return -1;
}

static long sys_set_mempolicy(int mode, const unsigned long *m, unsigned long mx)
{ return syscall(SYS_set_mempolicy, mode, m, mx); }
static long sys_get_mempolicy(int *mode, unsigned long *m, unsigned long mx, void *a, unsigned long f)
{ return syscall(SYS_get_mempolicy, mode, m, mx, a, f); }
static long sys_mbind(void *a, unsigned long len, int mode, const unsigned long *m, unsigned long mx, unsigned f)
{ return syscall(SYS_mbind, a, len, mode, m, mx, f); }
static long sys_migrate_pages(int pid, unsigned long mx, const unsigned long *a, const unsigned long *b)
{ return syscall(SYS_migrate_pages, pid, mx, a, b); }
static long sys_move_pages(int pid, unsigned long n, void **p, const int *nodes, int *st, int f)
{ return syscall(SYS_move_pages, pid, n, p, nodes, st, f); }

static int do_setpol(const char *spec, unsigned long maxnode)
{
	int mode, has;
	struct mask m;
	parse_spec(spec, &mode, &m, &has);
	if (sys_set_mempolicy(mode, has ? m.w : NULL, has ? (maxnode ? maxnode : MAXNODE + 1) : 0))
		return err("set_mempolicy");
	return 0;
}

static int do_getpol(void *addr)
{
	int mode = -1;
	struct mask m;
	char l[4096];
	memset(&m, 0, sizeof m);
	if (sys_get_mempolicy(&mode, m.w, MAXNODE + 1, addr, addr ? MPF_ADDR : 0))
		return err("get_mempolicy");
	mask_to_list(&m, l);
	fprintf(out, "%s", (mode & 0xff) < 7 ? mode_names[mode & 0xff] : "?");
	if (mode & F_STATIC) fprintf(out, "=static");
	if (mode & F_RELATIVE) fprintf(out, "=relative");
	if (mode & F_NUMABAL) fprintf(out, "=balancing");
	fprintf(out, ":%s\n", l);
	return 0;
}

/* ---- pinning ---- */
static int pin_list(const char *list)
{
	cpu_set_t c;
	struct mask m;
	int i;
	CPU_ZERO(&c);
	if (list_to_mask(list, &m))
		die("bad cpu list '%s'", list);
	for (i = 0; i < MAXNODE; i++)
		if (m.w[i / 64] >> (i % 64) & 1)
			CPU_SET(i, &c);
	if (sched_setaffinity(0, sizeof c, &c))
		return err("sched_setaffinity");
	return 0;
}

static int pin_node(const char *node)
{
	char p[256], b[1024];
	const char *sn = getenv("SYSNODE");
	int fd, n;
	snprintf(p, sizeof p, "%s/node%s/cpulist", sn ? sn : "/sys/devices/system/node", node);
	fd = open(p, O_RDONLY);
	if (fd < 0)
		return err(p);
	n = read(fd, b, sizeof b - 1);
	close(fd);
	if (n < 0) n = 0;
	b[n] = 0;
	if (!n || b[0] == '\n') {
		fprintf(out, "memtool: node%s has no CPUs\n", node);
		return 1;
	}
	return pin_list(b);
}

/* ---- regions ---- */
struct region { char *a; unsigned long len; int used; } reg[MAXREG];

static int new_region(void)
{
	int i;
	for (i = 0; i < MAXREG; i++)
		if (!reg[i].used)
			return i;
	die("too many regions");
	return -1;
}

/* touching may be fatal: OOM. volatile one byte per page. */
static void touch(char *a, unsigned long len, int wr, unsigned long step)
{
	volatile char *p = a;
	unsigned long i;
	for (i = 0; i < len; i += step)
		if (wr)
			p[i] = 1 + (i >> 12);
		else
			(void)p[i];
}

static int region_arg(const char *s)
{
	int r = atoi(s);
	if (!isdigit(*s) || r >= MAXREG || !reg[r].used) {
		fprintf(out, "memtool: no region %s\n", s);
		return -1;
	}
	return r;
}

static char iobuf[1 << 16] __attribute__((aligned(4096)));

static int read_file(const char *f, unsigned long long off, unsigned long long len)
{
	int fd = open(f, O_RDONLY);
	unsigned long long tot = 0;
	if (fd < 0)
		return err(f);
	while (tot < len) {
		unsigned long long w = len - tot;
		ssize_t n = pread(fd, iobuf, w < sizeof iobuf ? w : sizeof iobuf, off + tot);
		if (n < 0) {
			err("read");
			close(fd);
			return 1;
		}
		if (!n)
			break;
		tot += n;
	}
	close(fd);
	fprintf(out, "read %llu pages\n", (tot + PG - 1) / PG);
	return 0;
}

static int write_file(const char *f, unsigned long long len, int sync)
{
	int fd = open(f, O_WRONLY | O_CREAT, 0644);
	unsigned long long tot = 0;
	if (fd < 0)
		return err(f);
	memset(iobuf, 0x5a, sizeof iobuf);
	while (tot < len) {
		unsigned long long w = len - tot;
		ssize_t n = pwrite(fd, iobuf, w < sizeof iobuf ? w : sizeof iobuf, tot);
		if (n <= 0) {
			err("write");
			close(fd);
			return 1;
		}
		tot += n;
	}
	if (sync && fsync(fd))
		err("fsync");
	close(fd);
	fprintf(out, "wrote %llu pages\n", (tot + PG - 1) / PG);
	return 0;
}

/* ---- per-node counting ---- */
static void print_counts(const unsigned long *c, int mib)
{
	int i, any = 0;
	for (i = 0; i < MAXNODE; i++)
		if (c[i]) {
			if (mib)
				fprintf(out, "%sN%d~%luMiB", any ? " " : "", i, (c[i] + 128) / 256);
			else
				fprintf(out, "%sN%d=%lu", any ? " " : "", i, c[i]);
			any = 1;
		}
	fprintf(out, "%s\n", any ? "" : "none");
}

static int where(int pid, int mib, int only, int all, int each)
{
	char p[256], line[8192];
	const char *pr = getenv("PROC");
	FILE *f;
	static unsigned long c[MAXNODE];
	memset(c, 0, sizeof c);
	snprintf(p, sizeof p, "%s/%d/numa_maps", pr ? pr : "/proc", pid);
	f = fopen(p, "r");
	if (!f)
		return err("numa_maps");
	while (fgets(line, sizeof line, f)) {
		unsigned long a = strtoul(line, NULL, 16);
		int mine = a >= BASE && a < BASE + MAXREG * STRIDE;
		char *t;
		if (!all && !mine)
			continue;
		if (only >= 0 && (!mine || (a - BASE) / STRIDE != (unsigned long)only))
			continue;
		if (each)
			memset(c, 0, sizeof c);
		for (t = strtok(line, " \n"); t; t = strtok(NULL, " \n")) {
			int n;
			unsigned long v;
			if (sscanf(t, "N%d=%lu", &n, &v) == 2 && n >= 0 && n < MAXNODE)
				c[n] += v;
		}
		if (each) {
			fprintf(out, "r%lu ", (a - BASE) / STRIDE);
			print_counts(c, mib);
		}
	}
	fclose(f);
	if (!each)
		print_counts(c, mib);
	return 0;
}

/* ---- move_pages: MOVE on count pages of region r from page off ---- */
static const char *ename(int e)
{
	switch (e) {
	case ENOENT: return "ENOENT"; case EFAULT: return "EFAULT";
	case EBUSY: return "EBUSY"; case EACCES: return "EACCES";
	case ENOMEM: return "ENOMEM"; case EINVAL: return "EINVAL";
	case EIO: return "EIO"; case ENODEV: return "ENODEV";
	case EPERM: return "EPERM"; case ESRCH: return "ESRCH";
	case EEXIST: return "EEXIST"; case EAGAIN: return "EAGAIN";
	case E2BIG: return "E2BIG";
	}
	return "E?";
}

static int movepages(int pid, unsigned long base, unsigned long off, unsigned long n,
		     int node, int query, int flags, unsigned long stride, int initst)
{
	void **a = malloc(n * sizeof *a);
	int *nd = malloc(n * sizeof *nd), *st = malloc(n * sizeof *st);
	static unsigned long c[MAXNODE], e[256];
	unsigned long i;
	long r;
	int any = 0;
	memset(c, 0, sizeof c);
	memset(e, 0, sizeof e);
	for (i = 0; i < n; i++) {
		a[i] = (void *)(base + (off + i * stride) * PG);
		nd[i] = node;
		st[i] = initst;
	}
	r = sys_move_pages(pid, n, a, query ? NULL : nd, st, flags);
	if (r < 0) {
		err("move_pages");
		free(a); free(nd); free(st);
		return 1;
	}
	for (i = 0; i < n; i++)
		if (st[i] >= 0 && st[i] < MAXNODE)
			c[st[i]]++;
		else
			e[-st[i] & 255]++;
	fprintf(out, "ret=%ld", r);
	for (i = 0; i < MAXNODE; i++)
		if (c[i]) {
			fprintf(out, " N%lu=%lu", i, c[i]);
			any = 1;
		}
	for (i = 0; i < 256; i++)
		if (e[i])
			fprintf(out, " %s=%lu", ename(i), e[i]);
	(void)any;
	fprintf(out, "\n");
	free(a); free(nd); free(st);
	return 0;
}

/* which nodes hold FILE's page cache: only pages mincore calls resident are touched */
static int file_pages(const char *f, int locate, int mib)
{
	int fd = open(f, O_RDONLY);
	struct stat sb;
	unsigned long n, i, res = 0;
	unsigned char *v;
	char *m;
	if (fd < 0 || fstat(fd, &sb))
		return err(f);
	n = (sb.st_size + PG - 1) / PG;
	if (!n) {
		close(fd);
		fprintf(out, locate ? "none\n" : "0/0 pages\n");
		return 0;
	}
	m = mmap(NULL, n * PG, PROT_READ, MAP_SHARED, fd, 0);
	v = malloc(n);
	if (m == MAP_FAILED || mincore(m, n * PG, v))
		return err("mincore");
	for (i = 0; i < n; i++)
		res += v[i] & 1;
	if (!locate) {
		if (mib)
			fprintf(out, "~%luMiB of %luMiB\n", (res + 128) / 256, (n + 128) / 256);
		else
			fprintf(out, "%lu/%lu pages\n", res, n);
	} else {
		static unsigned long c[MAXNODE];
		unsigned long k = 0, lost = 0;
		void *a[512];
		int st[512];
		memset(c, 0, sizeof c);
		madvise(m, n * PG, MADV_RANDOM);
		for (i = 0; i <= n; i++) {
			if (i < n && (v[i] & 1)) {
				(void)*(volatile char *)(m + i * PG);
				a[k++] = m + i * PG;
			}
			if (k == 512 || (i == n && k)) {
				unsigned long j;
				if (sys_move_pages(0, k, a, NULL, st, 0))
					return err("move_pages");
				for (j = 0; j < k; j++)
					if (st[j] >= 0) c[st[j]]++;
					else lost++;
				k = 0;
			}
		}
		print_counts(c, mib);
		if (lost)
			fprintf(out, "lost=%lu\n", lost);
	}
	munmap(m, n * PG);
	free(v);
	close(fd);
	return 0;
}

static const struct { const char *n; int v; } advs[] = {
	{ "dontneed", MADV_DONTNEED }, { "free", MADV_FREE }, { "hugepage", MADV_HUGEPAGE },
	{ "nohugepage", MADV_NOHUGEPAGE }, { "cold", MADV_COLD }, { "pageout", MADV_PAGEOUT },
	{ "willneed", MADV_WILLNEED }, { "populate_write", 23 }, { "populate_read", 22 },
	{ "collapse", 25 }, { "mergeable", MADV_MERGEABLE } };

/* ---- alloc: makes one region; returns index or -1 ---- */
static int do_alloc(int argc, char **argv)
{
	unsigned long len = 0;
	int i, r, t = 0, flags = MAP_PRIVATE | MAP_ANONYMOUS, lock = 0, fd = -1, prot = PROT_READ | PROT_WRITE;
	const char *mb = NULL, *file = NULL;
	int thp = 0;
	for (i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--touch")) t = 1;
		else if (!strcmp(argv[i], "--read")) t = 2;
		else if (!strcmp(argv[i], "--shared")) flags = (flags & ~MAP_PRIVATE) | MAP_SHARED;
		else if (!strcmp(argv[i], "--lock")) lock = 1;
		else if (!strcmp(argv[i], "--thp")) thp = 1;
		else if (!strcmp(argv[i], "--huge")) flags |= MAP_HUGETLB;
		else if (!strcmp(argv[i], "--mbind") && i + 1 < argc) mb = argv[++i];
		else if (!strcmp(argv[i], "--file") && i + 1 < argc) {
			file = argv[++i];
			flags &= ~MAP_ANONYMOUS;
		} else if (argv[i][0] != '-' && !len) len = size_arg(argv[i]);
		else die("alloc: bad argument '%s'", argv[i]);
	}
	if (!len)
		die("alloc: no size");
	len = (len + PG - 1) & ~(PG - 1);
	if (file) {
		fd = open(file, (flags & MAP_SHARED) ? O_RDWR : O_RDONLY);
		if (fd < 0) {
			err(file);
			return -1;
		}
	}
	r = new_region();
	reg[r].a = mmap((void *)(BASE + r * STRIDE), len, prot,
			flags | MAP_FIXED_NOREPLACE | MAP_NORESERVE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (reg[r].a == MAP_FAILED) {
		err("mmap");
		return -1;
	}
	reg[r].len = len;
	reg[r].used = 1;
	if (thp)
		madvise(reg[r].a, len, MADV_HUGEPAGE);
	if (mb) {
		int mode, has;
		struct mask m;
		parse_spec(mb, &mode, &m, &has);
		if (sys_mbind(reg[r].a, len, mode, has ? m.w : NULL, has ? MAXNODE + 1 : 0, 0)) {
			err("mbind");
			munmap(reg[r].a, len);
			reg[r].used = 0;
			return -1;
		}
	}
	if (lock && mlock(reg[r].a, len)) {
		err("mlock");
		return -1;
	}
	if (t)
		touch(reg[r].a, len, t == 1, (flags & MAP_HUGETLB) ? 2 << 20 : PG);
	return r;
}

/* ---- verbs a held process understands ---- */
static int verb(int argc, char **argv)
{
	int r, i;
	char *v = argv[0];
	if (!argc)
		return 0;
	if (!strcmp(v, "alloc")) {
		r = do_alloc(argc - 1, argv + 1);
		if (r < 0)
			return 1;
		fprintf(out, "r%d\n", r);
		return 0;
	}
	if (!strcmp(v, "mmapfile")) {	/* mmapfile FILE SIZE [--shared] [--touch|--read] */
		char *nv[32];
		int n = 0;
		if (argc < 3)
			return 1;
		nv[n++] = argv[2]; nv[n++] = "--file"; nv[n++] = argv[1];
		for (i = 3; i < argc && n < 31; i++)
			nv[n++] = argv[i];
		r = do_alloc(n, nv);
		if (r < 0)
			return 1;
		fprintf(out, "r%d\n", r);
		return 0;
	}
	if (!strcmp(v, "touch") || !strcmp(v, "load")) {	/* touch R [OFF LEN] */
		unsigned long off = 0, len;
		if (argc < 2 || (r = region_arg(argv[1])) < 0)
			return 1;
		len = reg[r].len;
		if (argc >= 4) {
			off = size_arg(argv[2]);
			len = size_arg(argv[3]);
		}
		if (off + len > reg[r].len)
			len = reg[r].len - off;
		touch(reg[r].a + off, len, v[0] == 't', PG);
		return 0;
	}
	if (!strcmp(v, "loop")) {	/* loop R SECONDS : keep touching */
		struct timespec a, b;
		if (argc < 3 || (r = region_arg(argv[1])) < 0)
			return 1;
		clock_gettime(CLOCK_MONOTONIC, &a);
		do {
			touch(reg[r].a, reg[r].len, 1, PG);
			clock_gettime(CLOCK_MONOTONIC, &b);
		} while (b.tv_sec - a.tv_sec < atoi(argv[2]));
		return 0;
	}
	if (!strcmp(v, "read"))
		return read_file(argv[1], argc > 2 ? size_arg(argv[2]) : 0,
				 argc > 3 ? size_arg(argv[3]) : ~0ULL);
	if (!strcmp(v, "write"))
		return write_file(argv[1], size_arg(argv[2]), argc > 3);
	if (!strcmp(v, "free")) {
		if (argc < 2 || (r = region_arg(argv[1])) < 0)
			return 1;
		munmap(reg[r].a, reg[r].len);
		reg[r].used = 0;
		return 0;
	}
	if (!strcmp(v, "advise")) {
		if (argc < 3 || (r = region_arg(argv[1])) < 0)
			return 1;
		for (i = 0; i < (int)(sizeof advs / sizeof *advs); i++)
			if (!strcmp(advs[i].n, argv[2])) {
				if (madvise(reg[r].a, reg[r].len, advs[i].v))
					return err("madvise");
				return 0;
			}
		return 1;
	}
	if (!strcmp(v, "mlock") || !strcmp(v, "munlock")) {
		if (argc < 2 || (r = region_arg(argv[1])) < 0)
			return 1;
		if (v[1] == 'l' ? mlock(reg[r].a, reg[r].len) : munlock(reg[r].a, reg[r].len))
			return err(v);
		return 0;
	}
	if (!strcmp(v, "mbind")) {	/* mbind R SPEC [move] [moveall] [strict] */
		int mode, has, fl = 0;
		struct mask m;
		if (argc < 3 || (r = region_arg(argv[1])) < 0)
			return 1;
		for (i = 3; i < argc; i++)
			if (!strcmp(argv[i], "move")) fl |= MB_MOVE;
			else if (!strcmp(argv[i], "moveall")) fl |= MB_MOVE_ALL;
			else if (!strcmp(argv[i], "strict")) fl |= MB_STRICT;
		parse_spec(argv[2], &mode, &m, &has);
		if (sys_mbind(reg[r].a, reg[r].len, mode, has ? m.w : NULL, has ? MAXNODE + 1 : 0, fl))
			return err("mbind");
		return 0;
	}
	if (!strcmp(v, "policy"))
		return do_setpol(argv[1], 0);
	if (!strcmp(v, "getpolicy")) {
		if (argc < 2)
			return do_getpol(NULL);
		if ((r = region_arg(argv[1])) < 0)
			return 1;
		return do_getpol(reg[r].a);
	}
	if (!strcmp(v, "cpu"))
		return pin_list(argv[1]);
	if (!strcmp(v, "node"))
		return pin_node(argv[1]);
	if (!strcmp(v, "runson")) {
		unsigned cpu = 0, node = 0;
		syscall(SYS_getcpu, &cpu, &node, NULL);
		fprintf(out, "cpu%u node%u\n", cpu, node);
		return 0;
	}
	if (!strcmp(v, "movepages")) {	/* movepages R OFF N NODE|query */
		if (argc < 5 || (r = region_arg(argv[1])) < 0)
			return 1;
		return movepages(0, (unsigned long)reg[r].a, atol(argv[2]), atol(argv[3]),
				 atoi(argv[4]), !strcmp(argv[4], "query"), MB_MOVE, 1, -99);
	}
	if (!strcmp(v, "fork")) {	/* a child that only shares the pages */
		pid_t c = fork();
		if (c < 0)
			return err("fork");
		if (!c) {
			for (;;)
				pause();
		}
		fprintf(out, "%d\n", c);
		return 0;
	}
	fprintf(out, "memtool: unknown verb %s\n", v);
	return 1;
}

/* ---- the FIFO ---- */
static const char *fifo_dir(void)
{
	const char *d = getenv("MEMTOOL_DIR");
	return d ? d : "/tmp/memtool";
}

static int split(char *s, char **v, int max)
{
	int n = 0;
	char *t;
	for (t = strtok(s, " \t\n"); t && n < max; t = strtok(NULL, " \t\n"))
		v[n++] = t;
	return n;
}

static void serve(void)
{
	char p[512], line[4096], *v[64];
	snprintf(p, sizeof p, "%s/%d", fifo_dir(), getpid());
	for (;;) {
		int fd = open(p, O_RDONLY), n = 0, k, rc;
		char *reply = NULL;
		if (fd < 0)
			_exit(0);
		while ((k = read(fd, line + n, sizeof line - 1 - n)) > 0)
			n += k;
		close(fd);
		line[n] = 0;
		k = split(line, v, 64);
		if (!k)
			continue;
		if (!strncmp(v[0], "reply=", 6)) {
			reply = v[0] + 6;
			memmove(v, v + 1, --k * sizeof *v);
		}
		if (k && !strcmp(v[0], "exit")) {
			unlink(p);
			_exit(0);
		}
		out = reply ? fopen(reply, "w") : fopen("/dev/null", "w");
		if (!out)
			continue;
		rc = verb(k, v);
		fprintf(out, "@%d\n", rc);
		fclose(out);
	}
}

static int gone(int pid)
{
	char p[64], b[512], *q;
	int fd, n;
	snprintf(p, sizeof p, "/proc/%d/stat", pid);
	fd = open(p, O_RDONLY);
	if (fd < 0)
		return 1;
	n = read(fd, b, sizeof b - 1);
	close(fd);
	if (n <= 0)
		return 1;
	b[n] = 0;
	q = strrchr(b, ')');
	return !q || q[2] == 'Z' || q[2] == 'X';
}

static void nap(int ms)
{
	struct timespec t = { ms / 1000, (ms % 1000) * 1000000L };
	nanosleep(&t, NULL);
}

/* cmd PID VERB ... : run a verb in a held process and print its reply */
static int cmd(int argc, char **argv)
{
	int pid = atoi(argv[0]), fd, i, n = 0, rc = 0;
	char p[512], rp[512], line[4096], buf[65536];
	int isexit = !strcmp(argv[1], "exit");
	snprintf(p, sizeof p, "%s/%d", fifo_dir(), pid);
	snprintf(rp, sizeof rp, "%s/r%d", fifo_dir(), getpid());
	n = 0;
	line[0] = 0;
	if (!isexit) {
		mkfifo(rp, 0600);
		n = snprintf(line, sizeof line, "reply=%s", rp);
	}
	for (i = 1; i < argc; i++)
		n += snprintf(line + n, sizeof line - n, "%s%s", n ? " " : "", argv[i]);
	for (i = 0;; i++) {
		fd = open(p, O_WRONLY | O_NONBLOCK);
		if (fd >= 0)
			break;
		if (gone(pid) || i > 20000) {
			unlink(rp);
			errno = ESRCH;
			return err("cmd");
		}
		nap(2);
	}
	if (write(fd, line, n) != n)
		err("fifo");
	close(fd);
	if (isexit) {
		while (!gone(pid))
			nap(2);
		return 0;
	}
	fd = open(rp, O_RDONLY | O_NONBLOCK);
	n = 0;
	for (;;) {
		struct pollfd pf = { fd, POLLIN, 0 };
		int k = poll(&pf, 1, 50);
		if (k > 0 && (pf.revents & POLLIN)) {
			k = read(fd, buf + n, sizeof buf - 1 - n);
			if (k > 0) {
				n += k;
				buf[n] = 0;
				char *e = n >= 3 ? strrchr(buf, '@') : NULL;
				if (e && buf[n - 1] == '\n' && (e == buf || e[-1] == '\n')) {
					rc = atoi(e + 1);
					*e = 0;
					break;
				}
				continue;
			}
		}
		if (gone(pid)) {
			buf[n] = 0;
			rc = 137;
			break;
		}
		if (k > 0 && !(pf.revents & POLLIN))
			nap(2);
	}
	close(fd);
	unlink(rp);
	if (rc == 1 && !strncmp(buf, "memtool: ", 9))
		fputs(buf, stderr);
	else
		fputs(buf, stdout);
	if (rc == 137)
		fprintf(stderr, "memtool: process was killed\n");
	return rc;
}

/* options that concern the process rather than the region */
static int proc_opts(int *argc, char **argv, int *hold)
{
	int i, n = 0;
	for (i = 0; i < *argc; i++) {
		if (!strcmp(argv[i], "--hold")) *hold = 1;
		else if (!strcmp(argv[i], "--cpu") && i + 1 < *argc) {
			if (pin_list(argv[++i])) return 1;
		} else if (!strcmp(argv[i], "--node") && i + 1 < *argc) {
			if (pin_node(argv[++i])) return 1;
		} else if (!strcmp(argv[i], "--policy") && i + 1 < *argc) {
			if (do_setpol(argv[++i], 0)) return 1;
		} else if (!strcmp(argv[i], "--cpuset") && i + 1 < *argc) {
			char p[512], b[32];
			int fd, k;
			snprintf(p, sizeof p, "%s/%s", argv[++i], "cgroup.procs");
			fd = open(p, O_WRONLY);
			k = sprintf(b, "%d\n", getpid());
			if (fd < 0 || write(fd, b, k) != k) return err("attach");
			close(fd);
		} else if (!strcmp(argv[i], "--oom") && i + 1 < *argc) {
			int fd = open("/proc/self/oom_score_adj", O_WRONLY);
			i++;
			if (fd < 0 || write(fd, argv[i], strlen(argv[i])) < 0) return err("oom_score_adj");
			close(fd);
		} else
			argv[n++] = argv[i];
	}
	*argc = n;
	return 0;
}

static int wait_child(pid_t c)
{
	int st;
	while (waitpid(c, &st, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(st)) {
		fprintf(stderr, "memtool: worker killed by signal %d\n", WTERMSIG(st));
		return 128 + WTERMSIG(st);
	}
	return WEXITSTATUS(st);
}

static int cmd_alloc(int argc, char **argv)
{
	int hold = 0, pp[2], quiet = 0, mib = 0, i, n;
	pid_t c;
	for (i = n = 0; i < argc; i++)
		if (!strcmp(argv[i], "--quiet")) quiet = 1;
		else if (!strcmp(argv[i], "--mib")) mib = 1;
		else argv[n++] = argv[i];
	argc = n;
	if (pipe2(pp, O_CLOEXEC))
		return err("pipe");
	mkdir(fifo_dir(), 0700);
	c = fork();
	if (c < 0)
		return err("fork");
	if (!c) {
		int r = -1;
		char p[512];
		/* errors of the set-up go to stderr */
		out = stderr;
		if (proc_opts(&argc, argv, &hold))
			_exit(1);
		snprintf(p, sizeof p, "%s/%d", fifo_dir(), getpid());
		if (hold)
			mkfifo(p, 0600);
		if (argc)
			r = do_alloc(argc, argv);
		if (argc && r < 0) {
			unlink(p);
			_exit(1);
		}
		if (!hold) {
			out = stdout;
			if (!quiet)
				where(getpid(), mib, -1, 0, 0);
			fflush(stdout);
			_exit(0);
		}
		setsid();
		if (write(pp[1], "k", 1) != 1)
			_exit(1);
		close(pp[1]);
		close(pp[0]);
		int nul = open("/dev/null", O_RDWR);
		dup2(nul, 0);
		dup2(nul, 1);
		dup2(nul, 2);
		close(nul);
		for (i = 3; i < 64; i++)
			close(i);
		serve();
		_exit(0);
	}
	close(pp[1]);
	char b;
	if (read(pp[0], &b, 1) == 1) {
		printf("%d\n", (int)c);
		return 0;
	}
	return wait_child(c);
}

static void usage(void)
{
	fputs(
"memtool alloc SIZE [--touch|--read] [--hold] [--cpu LIST|--node N] [--policy SPEC] [--mbind SPEC]\n"
"              [--shared] [--file F] [--lock] [--thp] [--huge] [--cpuset DIR] [--oom ADJ] [--mib] [--quiet]\n"
"memtool idle [--cpu ..|--node ..|--policy ..]      a held process without a region; prints its pid\n"
"memtool cmd PID alloc SIZE ..|touch R [OFF LEN]|load R [OFF LEN]|loop R SECS|read F [OFF LEN]\n"
"              |write F SIZE [sync]|mmapfile F SIZE ..|free R|advise R WHAT|mlock R|munlock R\n"
"              |mbind R SPEC [move] [moveall] [strict]|policy SPEC|getpolicy [R]|cpu LIST|node N\n"
"              |runson|movepages R OFF N NODE|query|fork|exit\n"
"memtool exit PID... | memtool kill PID...\n"
"memtool where PID [--mib] [--region R] [--each] [--all]\n"
"memtool policy SPEC [--maxnode N] | memtool policy get\n"
"memtool migrate PID FROM TO [--maxnode N]\n"
"memtool movepages PID R OFF N NODE|query [--all] [--flags N] [--stride K]\n"
"memtool read F [--bytes N] [--offset N] [--cpu ..|--node ..|--policy ..|--cpuset DIR]\n"
"memtool write F SIZE [--sync] [--cpu ..|--node ..]\n"
"memtool cached F [--mib] | wherefile F [--mib] | dropfile F | put F VALUE | run [opts] -- CMD ARGS\n"
"SPEC = default|preferred|bind|interleave|local|preferred-many[=static|=relative|=balancing][:NODES]\n",
	stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	int i, hold = 0;
	out = stderr;
	setvbuf(stdout, NULL, _IOFBF, 4096);
	if (argc < 2)
		usage();
	char *s = argv[1];
	argc -= 2;
	argv += 2;

	if (!strcmp(s, "alloc"))
		return argc ? cmd_alloc(argc, argv) : (usage(), 2);
	if (!strcmp(s, "idle")) {
		char *nv[64];
		int n = 0;
		for (i = 0; i < argc && n < 62; i++)
			nv[n++] = argv[i];
		nv[n++] = "--hold";
		return cmd_alloc(n, nv);
	}
	if (!strcmp(s, "cmd"))
		return argc < 2 ? (usage(), 2) : cmd(argc, argv);
	if (!strcmp(s, "exit")) {
		int rc = 0;
		for (i = 0; i < argc; i++) {
			char *nv[2] = { argv[i], "exit" };
			rc |= cmd(2, nv);
		}
		return rc;
	}
	if (!strcmp(s, "kill")) {
		for (i = 0; i < argc; i++) {
			int pid = atoi(argv[i]);
			if (pid <= 1 || kill(pid, SIGKILL))
				return err("kill");
			while (!gone(pid))
				nap(2);
		}
		return 0;
	}
	if (!strcmp(s, "where")) {
		int mib = 0, only = -1, all = 0, each = 0;
		if (!argc)
			usage();
		for (i = 1; i < argc; i++)
			if (!strcmp(argv[i], "--mib")) mib = 1;
			else if (!strcmp(argv[i], "--all")) all = 1;
			else if (!strcmp(argv[i], "--each")) each = 1;
			else if (!strcmp(argv[i], "--region") && i + 1 < argc) only = atoi(argv[++i]);
			else usage();
		out = stdout;
		i = where(atoi(argv[0]), mib, only, all, each);
		fflush(stdout);
		return i;
	}
	if (!strcmp(s, "policy")) {
		unsigned long mx = 0;
		if (!argc)
			usage();
		if (argc > 2 && !strcmp(argv[1], "--maxnode"))
			mx = strtoul(argv[2], NULL, 0);
		if (strcmp(argv[0], "get") && do_setpol(argv[0], mx))
			return 1;
		out = stdout;
		return do_getpol(NULL);
	}
	if (!strcmp(s, "migrate")) {
		struct mask a, b;
		long r;
		unsigned long mx = MAXNODE + 1;
		if (argc < 3 || list_to_mask(argv[1], &a) || list_to_mask(argv[2], &b))
			usage();
		if (argc > 4)
			mx = strtoul(argv[4], NULL, 0);
		r = sys_migrate_pages(atoi(argv[0]), mx, a.w, b.w);
		if (r < 0)
			return err("migrate_pages");
		printf("not moved ?%ld\n", r);
		return 0;
	}
	if (!strcmp(s, "movepages")) {
		int fl = MB_MOVE, q;
		unsigned long st = 1;
		if (argc < 5)
			usage();
		for (i = 5; i < argc; i++)
			if (!strcmp(argv[i], "--all")) fl = MB_MOVE_ALL;
			else if (!strcmp(argv[i], "--flags") && i + 1 < argc) fl = atoi(argv[++i]);
			else if (!strcmp(argv[i], "--stride") && i + 1 < argc) st = atol(argv[++i]);
		q = !strcmp(argv[4], "query");
		/* out stays stderr for errors; results to stdout */
		FILE *o = out;
		char *res = NULL;
		size_t rl = 0;
		out = open_memstream(&res, &rl);
		i = movepages(atoi(argv[0]), BASE + atol(argv[1]) * STRIDE, atol(argv[2]),
			      atol(argv[3]), q ? 0 : atoi(argv[4]), q, q ? 0 : fl, st, -99);
		fclose(out);
		fputs(res, i ? o : stdout);
		return i;
	}
	if (!strcmp(s, "read")) {
		unsigned long long off = 0, len = ~0ULL;
		if (proc_opts(&argc, argv, &hold))
			return 1;
		for (i = 1; i < argc; i++)
			if (!strcmp(argv[i], "--bytes") && i + 1 < argc) len = size_arg(argv[++i]);
			else if (!strcmp(argv[i], "--offset") && i + 1 < argc) off = size_arg(argv[++i]);
			else usage();
		if (argc < 1)
			usage();
		out = stdout;
		i = read_file(argv[0], off, len);
		return i;
	}
	if (!strcmp(s, "write")) {
		int sync = 0;
		if (proc_opts(&argc, argv, &hold))
			return 1;
		if (argc < 2)
			usage();
		for (i = 2; i < argc; i++)
			if (!strcmp(argv[i], "--sync")) sync = 1;
		out = stdout;
		return write_file(argv[0], size_arg(argv[1]), sync);
	}
	if (!strcmp(s, "cached") || !strcmp(s, "wherefile")) {
		if (proc_opts(&argc, argv, &hold) || argc < 1)
			return 1;
		out = stdout;
		return file_pages(argv[0], s[0] == 'w', argc > 1 && !strcmp(argv[1], "--mib"));
	}
	if (!strcmp(s, "dropfile")) {
		int fd = open(argv[0], O_RDONLY);
		if (fd < 0)
			return err(argv[0]);
		fdatasync(fd);
		errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		return errno ? err("fadvise") : 0;
	}
	if (!strcmp(s, "put")) {	/* exactly one write(2) of the exact bytes */
		if (argc < 2)
			usage();
		int fd = open(argv[0], O_WRONLY);
		if (fd < 0)
			return err("open");
		ssize_t n = write(fd, argv[1], strlen(argv[1]));
		if (n < 0)
			return err("write");
		if (n != (ssize_t)strlen(argv[1]))
			printf("short write %zd\n", n);
		return 0;
	}
	if (!strcmp(s, "run")) {
		for (i = 0; i < argc && strcmp(argv[i], "--"); i++)
			;
		if (i == argc)
			usage();
		char **cv = argv + i + 1;
		argc = i;
		if (proc_opts(&argc, argv, &hold))
			return 1;
		execvp(cv[0], cv);
		return err(cv[0]);
	}
	usage();
	return 2;
}
