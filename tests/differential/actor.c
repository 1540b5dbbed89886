// SPDX-License-Identifier: MIT
/* actor - plays sequences of operations on the real kernel and says what came of each.
 *
 *   gcc -O2 -static -Wall -o actor actor.c;  actor v1|v2 < SCRIPT > RESULTS
 *
 * The language is that of model.py, which plays the same script on the model: a line is an operation, its
 * result is a line "= 0 TEXT" or "= EINVAL", then a line for each task (T) and group (G) whose state changed.
 * Tasks are processes of their own, in numbered slots, told what to do over a socket. "@2" in a line is the pid
 * of the task in slot 2. After each operation a task is bound to the lowest CPU that it may run on, so that
 * "local" means the same on every run.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define V1 "/sys/fs/cgroup/cpuset"
#define V2 "/sys/fs/cgroup/unified"
#define VM "/proc/sys/vm"
#define BASE 0x100000000000UL
#define STRIDE 0x1000000000UL
#define PAGE 4096UL
#define SLOTS 8
#define LINE 8192
#define MAXPAGES 4096

/* ---------------------------------------------------------------- the task */

static char text[LINE];		/* of the reply, behind "0 " */
static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

static char *page_of(int r, long page)
{
	return (char *)(BASE + r * STRIDE + page * PAGE);
}

static int touch(char *p, long n, int store)
{
	if (sigsetjmp(fault, 1)) {
		errno = EFAULT;
		return -1;
	}
	for (; n-- > 0; p += PAGE)
		if (store)
			*(volatile char *)p = 1;
		else
			(void)*(volatile char *)p;
	return 0;
}

/* "-" is a null pointer */
static unsigned long *mask(const char *hex, unsigned long *words)
{
	memset(words, 0, 8192);
	if (*hex == '-')
		return NULL;
	words[0] = strtoul(hex, NULL, 16);
	return words;
}

static unsigned long m1[1024], m2[1024];

static long movepages(pid_t pid, int r, long page, long n, long stride, int node, int flags)
{
	static void *pages[MAXPAGES];
	static int nodes[MAXPAGES], status[MAXPAGES];
	long i, ret, run;
	char *o = text;

	for (i = 0; i < n; i++) {
		pages[i] = page_of(r, page + i * stride);
		nodes[i] = node;
		status[i] = -999;
	}
	ret = syscall(SYS_move_pages, pid, n, pages, node == -2 ? NULL : nodes, status, flags);
	if (ret < 0)
		return ret;
	o += sprintf(o, "%ld", ret);
	for (i = 0; i < n; i += run) {	/* statuses, run by run */
		for (run = 1; i + run < n && status[i + run] == status[i]; run++)
			;
		o += sprintf(o, " %dx%ld", status[i], run);
		if (o > text + LINE - 64)
			break;
	}
	return 0;
}

static long getpolicy(const char *page, int r, int flags, unsigned long maxnode)
{
	int mode = -1;
	long ret = syscall(SYS_get_mempolicy, &mode, mask("0", m1), maxnode,
			   *page == '-' ? NULL : page_of(r, atol(page)), flags);
	if (!ret)
		sprintf(text, "%d %lx", mode, m1[0]);
	return ret;
}

static const struct { const char *name; int value; } advices[] = {
	{ "dontneed", MADV_DONTNEED }, { "hugepage", MADV_HUGEPAGE }, { "nohugepage", MADV_NOHUGEPAGE },
	{ "cold", 20 }, { "populate_read", 22 }, { "populate_write", 23 }, { "willneed", MADV_WILLNEED },
};

static int advice(const char *name)
{
	for (unsigned i = 0; i < sizeof advices / sizeof *advices; i++)
		if (!strcmp(advices[i].name, name))
			return advices[i].value;
	return -1;
}

static long map(char **a)
{
	long n = atol(a[3]);
	void *p = mmap(page_of(atoi(a[2]), 0), n * PAGE, PROT_READ | PROT_WRITE,
		       (*a[4] == 's' ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	return p == MAP_FAILED ? -1 : 0;
}

/* what a task does: OP SLOT REGION OFFSET PAGES ... */
static long act(char **a, int argc)
{
	const char *op = a[0];
	int r = argc > 2 ? atoi(a[2]) : 0;
	char *at = argc > 3 ? page_of(r, atol(a[3])) : NULL;
	long n = argc > 4 ? atol(a[4]) : 0;

	if (!strcmp(op, "map"))
		return map(a);
	if (!strcmp(op, "unmap"))
		return munmap(at, n * PAGE);
	if (!strcmp(op, "touch") || !strcmp(op, "load"))
		return touch(at, n, *op == 't');
	if (!strcmp(op, "lock"))
		return mlock(at, n * PAGE);
	if (!strcmp(op, "unlock"))
		return munlock(at, n * PAGE);
	if (!strcmp(op, "advise"))
		return madvise(at, n * PAGE, advice(a[5]));
	if (!strcmp(op, "mbind"))
		return syscall(SYS_mbind, at, n * PAGE, strtoul(a[5], NULL, 0), mask(a[6], m1), strtoul(a[7], NULL, 0), strtoul(a[8], NULL, 0));
	if (!strcmp(op, "home"))
		return syscall(450, at, n * PAGE, atol(a[5]), strtoul(a[6], NULL, 0));
	if (!strcmp(op, "policy"))
		return syscall(SYS_set_mempolicy, strtoul(a[2], NULL, 0), mask(a[3], m1), strtoul(a[4], NULL, 0));
	if (!strcmp(op, "getpol"))
		return getpolicy(a[3], r, strtoul(a[4], NULL, 0), strtoul(a[5], NULL, 0));
	if (!strcmp(op, "migrate")) {
		long ret = syscall(SYS_migrate_pages, atoi(a[2]), strtoul(a[5], NULL, 0), mask(a[3], m1), mask(a[4], m2));
		if (ret >= 0)
			sprintf(text, "%ld", ret);
		return ret < 0 ? -1 : 0;
	}
	if (!strcmp(op, "move"))
		return movepages(atoi(a[2]), atoi(a[3]), atol(a[4]), atol(a[5]), atol(a[6]), atoi(a[7]), strtoul(a[8], NULL, 0));
	if (!strcmp(op, "cpus")) {
		cpu_set_t set;
		unsigned long bits = strtoul(a[2], NULL, 16);
		CPU_ZERO(&set);
		memcpy(&set, &bits, sizeof bits);
		return sched_setaffinity(0, sizeof set, &set);
	}
	errno = ENOSYS;
	return -1;
}

static int words(char *line, char **a)
{
	int n = 0;
	for (char *w = strtok(line, " "); w && n < 15; w = strtok(NULL, " "))
		a[n++] = w;
	a[n] = NULL;
	return n;
}

static int worker(int fd)
{
	static char line[LINE], reply[LINE + 64];
	char *a[16];

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, 0);
	for (;;) {
		ssize_t n = recv(fd, line, sizeof line - 1, 0);
		if (n <= 0)
			_exit(0);
		line[n] = 0;
		int argc = words(line, a);
		text[0] = 0;
		if (!strcmp(a[0], "exit"))
			_exit(0);
		if (!strcmp(a[0], "fork")) {
			pid_t pid = fork();
			if (!pid) {
				fd = atoi(a[2]);
				continue;
			}
			n = sprintf(reply, "0 %d", pid);
		} else if (act(a, argc) < 0) {
			n = sprintf(reply, "%s", strerrorname_np(errno));
		} else {
			n = sprintf(reply, "0 %s", text);
		}
		send(fd, reply, n, 0);
	}
}

/* ---------------------------------------------------------------- who tells the tasks */

static struct slot {
	int ours, theirs;	/* the two ends of the socket */
	pid_t pid;
	char state[LINE];
} slots[SLOTS];

static char groups[LINE];	/* state of all groups */
static char reply[LINE];

static int alive(struct slot *s)
{
	if (!s->pid)
		return 0;
	waitpid(s->pid, NULL, WNOHANG);
	if (!kill(s->pid, 0))
		return 1;
	s->pid = 0;
	return 0;
}

static void bury(struct slot *s)
{
	while (alive(s))
		usleep(200);
}

static const char *ask(struct slot *s, const char *line)
{
	struct pollfd p = { s->ours, POLLIN, 0 };

	if (!alive(s))
		return "ESRCH";
	send(s->ours, line, strlen(line), 0);
	for (int i = 0; i < 600; i++) {
		if (poll(&p, 1, 100) == 1) {
			ssize_t n = recv(s->ours, reply, sizeof reply - 1, 0);
			reply[n > 0 ? n : 0] = 0;
			return reply;
		}
		if (!alive(s))
			return "KILLED";
	}
	return "HANG";
}

static void spawn(struct slot *s)
{
	pid_t pid = fork();
	if (!pid) {
		char fd[16];
		sprintf(fd, "%d", s->theirs);
		execl("/proc/self/exe", "actor", fd, NULL);
		_exit(127);
	}
	s->pid = pid;
	ask(s, "cpus 0 1");
}

static ssize_t get(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return -1;
	while (n < size - 1 && (got = read(fd, buf + n, size - 1 - n)) > 0)
		n += got;
	buf[n] = 0;
	close(fd);
	return n;
}

static const char *put(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return strerrorname_np(errno);
	n = write(fd, what, strlen(what));
	int e = errno;
	close(fd);
	return n < 0 ? strerrorname_np(e) : "0";
}

/* ---------------------------------------------------------------- states */

/* the lines of the regions in numa_maps, without what depends on when lists were drained */
static char *maps(pid_t pid, char *o)
{
	static char buf[1 << 16];
	char path[64];

	sprintf(path, "/proc/%d/numa_maps", pid);
	if (get(path, buf, sizeof buf) < 0)
		return o;
	for (char *l = strtok(buf, "\n"); l; l = strtok(NULL, "\n")) {
		if (l[0] != '1' || strchr(l, ' ') - l != 12)
			continue;
		char *end = l;
		/* of shared memory, which page table a dirty bit is in is not the model's matter */
		int shared = !strstr(l, " anon=");
		*o++ = ';';
		while (l && *l) {
			end = strchr(l, ' ');
			int len = end ? end - l : (int)strlen(l);
			if (!(shared && (!strncmp(l, "dirty=", 6) || !strncmp(l, "mapped=", 7))) && strncmp(l, "active=", 7) &&
			    strncmp(l, "kernelpagesize", 14) && strncmp(l, "file=", 5))
				o += sprintf(o, " %.*s", len, l);
			l = end ? end + 1 : NULL;
		}
	}
	return o;
}

static char *list_of(unsigned long bits, char *o)
{
	int any = 0;
	for (int i = 0, j; i < 64; i = j + 1) {
		j = i;
		if (!(bits >> i & 1))
			continue;
		while (j < 63 && bits >> (j + 1) & 1)
			j++;
		o += sprintf(o, any++ ? ",%d" : "%d", i);
		if (j > i)
			o += sprintf(o, "-%d", j);
	}
	return o;
}

/* say the task's state if it changed, and bind it to its lowest CPU */
static void show_task(int i)
{
	static char now[LINE], status[LINE];
	struct slot *s = &slots[i];
	char path[64], *o = now, *mems;
	cpu_set_t set;
	unsigned long bits = 0;

	if (!alive(s)) {
		if (s->state[0])
			printf("T%d gone\n", i);
		s->state[0] = 0;
		return;
	}
	sched_getaffinity(s->pid, sizeof set, &set);
	memcpy(&bits, &set, sizeof bits);
	o += sprintf(o, "cpus=");
	o = list_of(bits, o);
	sprintf(path, "/proc/%d/status", s->pid);
	get(path, status, sizeof status);
	mems = strstr(status, "Mems_allowed_list:\t");
	o += sprintf(o, " mems=%.*s", mems ? (int)strcspn(mems + 19, "\n") : 0, mems ? mems + 19 : "");
	o = maps(s->pid, o);
	*o = 0;
	if (strcmp(now, s->state)) {
		printf("T%d %s\n", i, now);
		strcpy(s->state, now);
	}
	bits &= -bits;
	CPU_ZERO(&set);
	memcpy(&set, &bits, sizeof bits);
	sched_setaffinity(s->pid, sizeof set, &set);
}

static const char *cg = V1;	/* where the hierarchy is mounted */
static int v2;

static const char *files_v2[] = {
	"cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective", "cpuset.mems.effective", "cpuset.cpus.partition",
	"cgroup.type", "cgroup.subtree_control", "cgroup.threads", NULL,
};
static const char *files_v1[] = {
	"cpuset.cpus", "cpuset.mems", "cpuset.effective_cpus", "cpuset.effective_mems", "cpuset.cpu_exclusive",
	"cpuset.mem_exclusive", "cpuset.mem_hardwall", "cpuset.memory_migrate", "cpuset.memory_spread_page",
	"cpuset.memory_spread_slab", "cpuset.sched_load_balance", "cpuset.sched_relax_domain_level",
	"cgroup.clone_children", "notify_on_release", "tasks", NULL,
};

static int slot_of(pid_t pid)
{
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].pid == pid)
			return i;
	return -1;
}

static char *group(const char *name, char *o)
{
	char path[512], value[4096];

	const char **files = v2 ? files_v2 : files_v1;

	o += sprintf(o, "G %s", *name ? name : "/");
	for (unsigned i = 0; files[i]; i++) {
		sprintf(path, "%s/%s/%s", cg, name, files[i]);
		if (get(path, value, sizeof value) < 0)
			continue;
		if (!files[i + 1]) {
			unsigned in = 0;
			for (char *p = strtok(value, "\n"); p; p = strtok(NULL, "\n"))
				if (slot_of(atoi(p)) >= 0)
					in |= 1 << slot_of(atoi(p));
			o += sprintf(o, " tasks=%x", in);
		} else {
			o += sprintf(o, " %.*s", (int)strcspn(value, "\n"), value);
			if (!*value || *value == '\n')
				o += sprintf(o, "-");
		}
	}
	return o + sprintf(o, "\n");
}

/* names of the groups below NAME, depth first, each before (DOWN) or behind those inside it */
static void walk(const char *name, void (*visit)(const char *), int down)
{
	char path[512], *names[16];
	int n = 0;
	struct dirent *e;
	DIR *d;

	sprintf(path, "%s/%s", cg, name);
	if (!(d = opendir(path)))
		return;
	while ((e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.' && n < 16)
			names[n++] = strdup(e->d_name);
	closedir(d);
	for (int i = 0; i < n; i++)
		for (int j = i + 1; j < n; j++)
			if (strcmp(names[i], names[j]) > 0) {
				char *t = names[i];
				names[i] = names[j];
				names[j] = t;
			}
	for (int i = 0; i < n; i++) {
		sprintf(path, "%s%s%s", name, *name ? "/" : "", names[i]);
		if (down)
			visit(path);
		walk(path, visit, down);
		if (!down)
			visit(path);
		free(names[i]);
	}
}

static char *group_end;

static void append_group(const char *name)
{
	group_end = group(name, group_end);
}

static void show_groups(void)
{
	static char now[LINE];

	group_end = now;
	*now = 0;
	if (v2)
		append_group("");
	walk("", append_group, 1);
	if (strcmp(now, groups)) {
		fputs(*now ? now : "G none\n", stdout);
		strcpy(groups, now);
	}
}

/* ---------------------------------------------------------------- the script */

static void remove_group(const char *name)
{
	char path[512];
	sprintf(path, "%s/%s", cg, name);
	rmdir(path);
}

static const char *put_in(const char *file, const char *what)
{
	char path[512];
	sprintf(path, "%s/%s", cg, file);
	return put(path, what);
}

/* a group's CPUs go back to its parent when the kernel gets round to it */
static void settle(void)
{
	if (v2)
		usleep(100000);
}

static void reset(void)
{
	for (int i = 0; i < SLOTS; i++) {
		struct slot *s = &slots[i];
		if (alive(s))
			kill(s->pid, SIGKILL);
	}
	for (int i = 0; i < SLOTS; i++) {
		char drain[LINE];
		bury(&slots[i]);
		while (recv(slots[i].ours, drain, sizeof drain, MSG_DONTWAIT) > 0 ||
		       recv(slots[i].theirs, drain, sizeof drain, MSG_DONTWAIT) > 0)
			;
		slots[i].state[0] = 0;
	}
	walk("", remove_group, 0);
	settle();
	groups[0] = 0;
	put(VM "/zone_reclaim_mode", "0");
	put(VM "/min_unmapped_ratio", "1");
	put(VM "/min_slab_ratio", "5");
	put(VM "/swappiness", "60");
	/* what the root cpuset remembers of its nodes is set when a task enters it */
	spawn(&slots[0]);
	char pid[16];
	sprintf(pid, "%d", slots[0].pid);
	put_in(v2 ? "cgroup.subtree_control" : "cgroup.clone_children", v2 ? "+cpuset" : "0");
	char path[512];
	sprintf(path, "%s/first", cg);
	mkdir(path, 0755);
	put_in("first/cpuset.cpus", "0");
	put_in("first/cpuset.mems", "0");
	put_in("first/cgroup.procs", pid);
	put_in("cgroup.procs", pid);
	rmdir(path);
	ask(&slots[0], "exit");
	bury(&slots[0]);
}

/* put the pids in the place of "@2" */
static void pids(const char *in, char *o)
{
	while (*in)
		if (*in == '@' && in[1] >= '0' && in[1] < '0' + SLOTS) {
			o += sprintf(o, "%d", slots[in[1] - '0'].pid ?: 999999);
			in += 2;
		} else {
			*o++ = *in++;
		}
	*o = 0;
}

static const char *done(int ret)
{
	return ret < 0 ? strerrorname_np(errno) : "0";
}

/* "put GROUP/FILE TEXT": the text is all behind one blank */
static const char *of_files(char *line)
{
	char path[512], path2[512];
	char *a = strchr(line, ' ') + 1, *b = strchr(a, ' ');
	int n = b ? b - a : (int)strlen(a);

	b = b ? b + 1 : "";
	sprintf(path, "%s/%.*s", *line == 's' ? VM : cg, n, a);
	sprintf(path2, "%s/%s", cg, b);
	if (!strncmp(line, "mkdir ", 6))
		return done(mkdir(path, 0755));
	if (!strncmp(line, "rmdir ", 6)) {
		const char *said = done(rmdir(path));
		settle();
		return said;
	}
	if (!strncmp(line, "mv ", 3))
		return done(rename(path, path2));
	const char *said = put(path, b);
	if (strchr(b, '-') && strstr(path, "subtree_control"))
		settle();
	return said;
}

static const char *play(char *line)
{
	struct slot *s = &slots[strchr(line, ' ')[1] - '0'];

	if (!strncmp(line, "mkdir ", 6) || !strncmp(line, "rmdir ", 6) || !strncmp(line, "mv ", 3) ||
	    !strncmp(line, "put ", 4) || !strncmp(line, "sys ", 4))
		return of_files(line);
	if (!strncmp(line, "spawn ", 6)) {
		if (alive(s))
			return "EEXIST";
		spawn(s);
		return "0";
	}
	if (!strncmp(line, "exit ", 5)) {
		if (!alive(s))
			return "ESRCH";
		send(s->ours, line, strlen(line), 0);
		bury(s);
		return "0";
	}
	if (!strncmp(line, "fork ", 5)) {
		struct slot *child = &slots[line[7] - '0'];
		if (alive(child))
			return "EEXIST";
		sprintf(line + 7, "%d", child->theirs);
		const char *said = ask(s, line);
		if (said[0] != '0')
			return said;
		child->pid = atoi(said + 2);
		return "0";
	}
	return ask(s, line);
}

int main(int argc, char **argv)
{
	static char line[LINE], told[LINE];

	if (argc > 1 && *argv[1] != 'v')
		return worker(atoi(argv[1]));
	if (argc > 1 && !strcmp(argv[1], "v2")) {
		v2 = 1;
		cg = V2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < SLOTS; i++) {
		int fds[2];
		socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds);
		fcntl(fds[0], F_SETFD, FD_CLOEXEC);
		slots[i].ours = fds[0];
		slots[i].theirs = fds[1];
	}
	while (fgets(line, sizeof line, stdin) && line[0]) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] == '#') {
			reset();
			printf("%s\n", line);
			fflush(stdout);
			continue;
		}
		if (!line[0])
			continue;
		pids(line, told);
		printf("= %s\n", play(told));
		for (int i = 0; i < SLOTS; i++)
			show_task(i);
		if (strchr("mrpesf", line[0]))	/* what changes groups or who is in them */
			show_groups();
	}
	reset();
	printf("# end\n");
	fflush(stdout);
	return 0;
}
