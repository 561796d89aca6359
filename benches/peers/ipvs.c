/* The peers of `cargo xtask bench ipvs`: what others do to tell IPVS the same
 * thing, with nothing around it. Usage: ipvs STRATEGY SERVICES EACH
 *
 *   floor         encoded beforehand, batches of 128 and a barrier: nobody who
 *                 batches so takes less
 *   one-send      encoded beforehand, all in one datagram
 *   raw           one request, one ack, a plain socket
 *   libnl         one request, one ack, one libnl socket (keepalived)
 *   libnl-socket  a libnl socket for each request (Seesaw, without its Go)
 *   libnl-each    and a lookup of the family (ipvsadm, without its start)
 *
 * Works in a network namespace of its own, for deleted destinations slow every
 * later add of their namespace for two minutes. Prints `PHASE COUNT US` at the
 * end of each phase, then `rss` (KiB, the peak). Any errno of the kernel ends
 * it: a peer that is refused measures nothing.
 *
 * Sources: linux/ip_vs.h, libnl's genl/ctrl.h. Host byte order except ports.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <net/if.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 128
#define BUFFER (64 << 20)

static void fail(const char *what, int err)
{
	fprintf(stderr, "ipvs peer: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* A request as the caller has it: what to do, not yet how to say it. */
struct op {
	int command;
	unsigned service, destination;
	unsigned weight;
};

static unsigned services, each;
static int family;
static unsigned sequence = 1;

static unsigned service_address(unsigned n) { return htonl(0x0a010000 + n); }
static unsigned destination_address(unsigned n) { return htonl(0x0a800000 + n); }

/* --- plain ---------------------------------------------------------------- */

static int plain = -1;
static char *buffer, *scratch;

static char *put(char *at, int type, const void *value, int len)
{
	struct nlattr head = { .nla_len = sizeof head + len, .nla_type = type };
	memcpy(at, &head, sizeof head);
	memset(at + sizeof head, 0, NLA_ALIGN(len));
	memcpy(at + sizeof head, value, len);
	return at + sizeof head + NLA_ALIGN(len);
}

static char *put_u16(char *at, int type, unsigned short v) { return put(at, type, &v, 2); }
static char *put_u32(char *at, int type, unsigned v) { return put(at, type, &v, 4); }

/* The shortest request that the kernel takes for it. */
static char *encode(char *start, const struct op *op, int flags)
{
	struct genlmsghdr genl = { .cmd = op->command, .version = 1 };
	char *at = start + sizeof(struct nlmsghdr);
	memcpy(at, &genl, sizeof genl);
	at += sizeof genl;
	char *nest = at;
	at += sizeof(struct nlattr);
	at = put_u16(at, IPVS_SVC_ATTR_AF, AF_INET);
	at = put_u16(at, IPVS_SVC_ATTR_PROTOCOL, IPPROTO_TCP);
	unsigned address = service_address(op->service);
	at = put(at, IPVS_SVC_ATTR_ADDR, &address, 4);
	at = put_u16(at, IPVS_SVC_ATTR_PORT, htons(80));
	if (op->command == IPVS_CMD_NEW_SERVICE) {
		unsigned service_flags[2] = { 0, ~0u };
		at = put(at, IPVS_SVC_ATTR_SCHED_NAME, "wrr", 4);
		at = put(at, IPVS_SVC_ATTR_FLAGS, service_flags, 8);
		at = put_u32(at, IPVS_SVC_ATTR_TIMEOUT, 0);
		at = put_u32(at, IPVS_SVC_ATTR_NETMASK, ~0u);
	}
	struct nlattr head = { .nla_len = at - nest, .nla_type = IPVS_CMD_ATTR_SERVICE };
	memcpy(nest, &head, sizeof head);
	if (op->command != IPVS_CMD_NEW_SERVICE) {
		nest = at;
		at += sizeof head;
		address = destination_address(op->destination);
		at = put(at, IPVS_DEST_ATTR_ADDR, &address, 4);
		at = put_u16(at, IPVS_DEST_ATTR_PORT, htons(80));
		if (op->command != IPVS_CMD_DEL_DEST) {
			at = put_u32(at, IPVS_DEST_ATTR_FWD_METHOD, 3);
			at = put_u32(at, IPVS_DEST_ATTR_WEIGHT, op->weight);
			at = put_u32(at, IPVS_DEST_ATTR_U_THRESH, 0);
			at = put_u32(at, IPVS_DEST_ATTR_L_THRESH, 0);
		}
		head.nla_len = at - nest;
		head.nla_type = IPVS_CMD_ATTR_DEST;
		memcpy(nest, &head, sizeof head);
	}
	struct nlmsghdr message = {
		.nlmsg_len = at - start,
		.nlmsg_type = family,
		.nlmsg_flags = NLM_F_REQUEST | flags,
		.nlmsg_seq = sequence++,
	};
	memcpy(start, &message, sizeof message);
	return at;
}

static char *barrier(char *at)
{
	struct nlmsghdr message = {
		.nlmsg_len = sizeof message,
		.nlmsg_type = NLMSG_NOOP,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.nlmsg_seq = sequence++,
	};
	memcpy(at, &message, sizeof message);
	return at + sizeof message;
}

static void exchange(const char *from, const char *to)
{
	if (send(plain, from, to - from, 0) != to - from)
		fail("send", errno);
	long len = recv(plain, scratch, 32768, 0);
	if (len < 0)
		fail("recv", errno);
	struct nlmsgerr *answer = NLMSG_DATA((struct nlmsghdr *)scratch);
	/* Errors come first, so the first answer of a good batch is its ack. */
	if (answer->error)
		fail("kernel", answer->error);
}

static void plain_open(void)
{
	int size = BUFFER, one = 1;
	plain = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (plain < 0)
		fail("socket", errno);
	setsockopt(plain, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	setsockopt(plain, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(plain, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	buffer = malloc(BUFFER);
	scratch = malloc(32768);
}

/* Encodes all, then sends `batch` at a time with a barrier behind each. */
static double batches(const struct op *ops, unsigned count, unsigned batch)
{
	char **ends = malloc(sizeof *ends * (count / batch + 1));
	unsigned parts = 0;
	char *at = buffer;
	for (unsigned i = 0; i < count; i++) {
		at = encode(at, &ops[i], 0);
		if ((i + 1) % batch == 0 || i + 1 == count) {
			at = barrier(at);
			ends[parts++] = at;
		}
	}
	double begin = now_us();
	char *from = buffer;
	for (unsigned i = 0; i < parts; i++) {
		exchange(from, ends[i]);
		from = ends[i];
	}
	double took = now_us() - begin;
	free(ends);
	return took;
}

static double floor_run(const struct op *ops, unsigned count) { return batches(ops, count, BATCH); }

static double one_send(const struct op *ops, unsigned count) { return batches(ops, count, count); }

static double raw(const struct op *ops, unsigned count)
{
	double begin = now_us();
	for (unsigned i = 0; i < count; i++)
		exchange(buffer, encode(buffer, &ops[i], NLM_F_ACK));
	return now_us() - begin;
}

/* --- libnl ---------------------------------------------------------------- */

static struct nl_sock *persistent;

static struct nl_sock *libnl_open(void)
{
	struct nl_sock *socket = nl_socket_alloc();
	int err = socket ? genl_connect(socket) : -NLE_NOMEM;
	if (err < 0)
		fail(nl_geterror(err), EIO);
	return socket;
}

static int resolve(struct nl_sock *socket)
{
	int id = genl_ctrl_resolve(socket, IPVS_GENL_NAME);
	if (id < 0)
		fail(nl_geterror(id), ENOENT);
	return id;
}

static void say(struct nl_sock *socket, int id, const struct op *op)
{
	struct nl_msg *message = nlmsg_alloc();
	genlmsg_put(message, NL_AUTO_PORT, NL_AUTO_SEQ, id, 0, 0, op->command, IPVS_GENL_VERSION);
	struct nlattr *nest = nla_nest_start(message, IPVS_CMD_ATTR_SERVICE);
	unsigned address = service_address(op->service);
	nla_put_u16(message, IPVS_SVC_ATTR_AF, AF_INET);
	nla_put_u16(message, IPVS_SVC_ATTR_PROTOCOL, IPPROTO_TCP);
	nla_put(message, IPVS_SVC_ATTR_ADDR, 4, &address);
	nla_put_u16(message, IPVS_SVC_ATTR_PORT, htons(80));
	if (op->command == IPVS_CMD_NEW_SERVICE) {
		unsigned service_flags[2] = { 0, ~0u };
		nla_put_string(message, IPVS_SVC_ATTR_SCHED_NAME, "wrr");
		nla_put(message, IPVS_SVC_ATTR_FLAGS, 8, service_flags);
		nla_put_u32(message, IPVS_SVC_ATTR_TIMEOUT, 0);
		nla_put_u32(message, IPVS_SVC_ATTR_NETMASK, ~0u);
	}
	nla_nest_end(message, nest);
	if (op->command != IPVS_CMD_NEW_SERVICE) {
		nest = nla_nest_start(message, IPVS_CMD_ATTR_DEST);
		address = destination_address(op->destination);
		nla_put(message, IPVS_DEST_ATTR_ADDR, 4, &address);
		nla_put_u16(message, IPVS_DEST_ATTR_PORT, htons(80));
		if (op->command != IPVS_CMD_DEL_DEST) {
			nla_put_u32(message, IPVS_DEST_ATTR_FWD_METHOD, 3);
			nla_put_u32(message, IPVS_DEST_ATTR_WEIGHT, op->weight);
			nla_put_u32(message, IPVS_DEST_ATTR_U_THRESH, 0);
			nla_put_u32(message, IPVS_DEST_ATTR_L_THRESH, 0);
		}
		nla_nest_end(message, nest);
	}
	int err = nl_send_auto(socket, message);
	if (err < 0)
		fail(nl_geterror(err), EIO);
	nlmsg_free(message);
	err = nl_wait_for_ack(socket);
	if (err < 0)
		fail(nl_geterror(err), EIO);
}

static double libnl(const struct op *ops, unsigned count)
{
	double begin = now_us();
	for (unsigned i = 0; i < count; i++)
		say(persistent, family, &ops[i]);
	return now_us() - begin;
}

static double libnl_socket(const struct op *ops, unsigned count)
{
	double begin = now_us();
	for (unsigned i = 0; i < count; i++) {
		struct nl_sock *socket = libnl_open();
		say(socket, family, &ops[i]);
		nl_socket_free(socket);
	}
	return now_us() - begin;
}

static double libnl_each(const struct op *ops, unsigned count)
{
	double begin = now_us();
	for (unsigned i = 0; i < count; i++) {
		struct nl_sock *socket = libnl_open();
		say(socket, resolve(socket), &ops[i]);
		nl_socket_free(socket);
	}
	return now_us() - begin;
}

static int count_row(struct nl_msg *message, void *count)
{
	struct nlattr *top[IPVS_CMD_ATTR_MAX + 1];
	struct nlattr *row[IPVS_DEST_ATTR_MAX + 1];
	if (genlmsg_parse(nlmsg_hdr(message), 0, top, IPVS_CMD_ATTR_MAX, NULL))
		return NL_SKIP;
	if (top[IPVS_CMD_ATTR_DEST] &&
	    !nla_parse_nested(row, IPVS_DEST_ATTR_MAX, top[IPVS_CMD_ATTR_DEST], NULL) &&
	    row[IPVS_DEST_ATTR_ADDR] && nla_get_u32(row[IPVS_DEST_ATTR_WEIGHT]))
		++*(unsigned *)count;
	return NL_OK;
}

static double libnl_dump(unsigned *rows)
{
	double begin = now_us();
	*rows = 0;
	nl_socket_modify_cb(persistent, NL_CB_VALID, NL_CB_CUSTOM, count_row, rows);
	for (unsigned i = 0; i <= services; i++) {
		struct nl_msg *message = nlmsg_alloc();
		/* The services first, then the destinations of each. */
		genlmsg_put(message, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, NLM_F_DUMP,
			    i ? IPVS_CMD_GET_DEST : IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION);
		if (i) {
			unsigned address = service_address(i - 1);
			struct nlattr *nest = nla_nest_start(message, IPVS_CMD_ATTR_SERVICE);
			nla_put_u16(message, IPVS_SVC_ATTR_AF, AF_INET);
			nla_put_u16(message, IPVS_SVC_ATTR_PROTOCOL, IPPROTO_TCP);
			nla_put(message, IPVS_SVC_ATTR_ADDR, 4, &address);
			nla_put_u16(message, IPVS_SVC_ATTR_PORT, htons(80));
			nla_nest_end(message, nest);
		}
		int err = nl_send_auto(persistent, message);
		nlmsg_free(message);
		if (err >= 0)
			err = nl_recvmsgs_default(persistent);
		if (err < 0)
			fail(nl_geterror(err), EIO);
	}
	return now_us() - begin;
}

/* --- the run -------------------------------------------------------------- */

static const struct strategy {
	const char *name;
	double (*run)(const struct op *ops, unsigned count);
} strategies[] = {
	{ "floor", floor_run }, { "one-send", one_send }, { "raw", raw },
	{ "libnl", libnl },     { "libnl-socket", libnl_socket },
	{ "libnl-each", libnl_each },
};

/* With no address at all the kernel takes every address for a broadcast. */
static void own_namespace(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	if (unshare(CLONE_NEWNET))
		fail("unshare", errno);
	int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
	if (socket_ < 0 || ioctl(socket_, SIOCSIFFLAGS, &lo))
		fail("lo", errno);
	close(socket_);
}

static void memory(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, "VmHWM:", 6))
			printf("rss 1 %ld\n", atol(line + 6));
}

int main(int argc, char **argv)
{
	const struct strategy *strategy = NULL;
	for (unsigned i = 0; argc == 4 && i < sizeof strategies / sizeof *strategies; i++)
		if (!strcmp(argv[1], strategies[i].name))
			strategy = &strategies[i];
	if (!strategy) {
		fprintf(stderr, "usage: ipvs STRATEGY SERVICES EACH\n");
		return 2;
	}
	services = atoi(argv[2]);
	each = atoi(argv[3]);
	unsigned count = services * each;
	/* The end of a phase is seen among its system calls. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	own_namespace();
	int with_libnl = strategy->run != floor_run && strategy->run != one_send && strategy->run != raw;
	persistent = libnl_open();
	family = resolve(persistent);
	if (!with_libnl) {
		/* So that its peak is its own. */
		nl_socket_free(persistent);
		plain_open();
	}

	struct op *ops = calloc(count > services ? count : services, sizeof *ops);
	for (unsigned i = 0; i < services; i++)
		ops[i] = (struct op){ .command = IPVS_CMD_NEW_SERVICE, .service = i };
	strategy->run(ops, services);
	const struct phase {
		const char *name;
		int command;
		unsigned first;
		unsigned weight;
	} phases[] = {
		{ "new", IPVS_CMD_NEW_DEST, 0, 1 },
		{ "set", IPVS_CMD_SET_DEST, 0, 2 },
		{ "del", IPVS_CMD_DEL_DEST, 0, 0 },
		/* Others than those in the trash, which the kernel looks through. */
		{ "new-trash", IPVS_CMD_NEW_DEST, count, 1 },
		{ "dump", 0, 0, 0 },
	};
	for (unsigned p = 0; p < sizeof phases / sizeof *phases; p++) {
		const struct phase *phase = &phases[p];
		if (!phase->command) {
			unsigned rows = 0;
			if (strategy->run != libnl)
				continue;
			double took = libnl_dump(&rows);
			if (rows != count)
				fail("rows are missing in the dump", EIO);
			printf("dump %u %.1f\n", count, took);
			continue;
		}
		for (unsigned i = 0; i < count; i++)
			ops[i] = (struct op){
				.command = phase->command,
				.service = i / each,
				.destination = phase->first + i,
				.weight = phase->weight,
			};
		double took = strategy->run(ops, count);
		printf("%s %u %.1f\n", phase->name, count, took);
	}
	memory();
	return 0;
}
