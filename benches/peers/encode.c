/* The peers of `cargo xtask bench encode`: the same datagrams as ours, 128
 * requests to add an IPv4 destination (108 bytes each), encoded in C.
 * Usage: encode STRATEGY ROUNDS
 *
 *   plain     one attribute after the other into a buffer whose end is looked
 *             at, as one writes it and as libmnl and libnl do it
 *   template  a request made once, copied whole, five fields and the sequence
 *             number put in, no end looked at and no value either: nobody who
 *             makes these bytes does less
 *
 * Neither looks whether the kernel would take the values; ours does. A round is
 * 64 datagrams. Prints `ns` of one request, the least of all rounds, and the
 * last datagram in hex, which must be ours.
 *
 * Sources: linux/netlink.h, linux/genetlink.h, linux/ip_vs.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 128
#define DATAGRAMS 64
#define FAMILY 30
#define REQUEST 108
/* gcc would call them, three times as slow. */
#define INLINE inline __attribute__((always_inline))

struct service {
	uint16_t af;
	uint16_t protocol;
	uint32_t addr; /* network order */
	uint16_t port; /* network order */
};

struct dest {
	uint32_t addr; /* network order */
	uint16_t port; /* network order */
	uint32_t forward;
	uint32_t weight;
	uint32_t upper, lower;
};

struct buffer {
	unsigned char *bytes;
	size_t len, room;
};

static INLINE void *reserve(struct buffer *b, size_t len)
{
	size_t padded = NLMSG_ALIGN(len);
	unsigned char *at;

	if (b->room - b->len < padded)
		return NULL;
	at = b->bytes + b->len;
	b->len += padded;
	return at;
}

static INLINE int put(struct buffer *b, int type, const void *data, size_t len)
{
	struct nlattr *a = reserve(b, NLA_HDRLEN + len);

	if (!a)
		return -1;
	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy((char *)a + NLA_HDRLEN, data, len);
	if (NLA_ALIGN(len) != len)
		memset((char *)a + NLA_HDRLEN + len, 0, NLA_ALIGN(len) - len);
	return 0;
}

static INLINE int put_u16(struct buffer *b, int type, uint16_t value)
{
	return put(b, type, &value, sizeof(value));
}

static INLINE int put_u32(struct buffer *b, int type, uint32_t value)
{
	return put(b, type, &value, sizeof(value));
}

static INLINE struct nlattr *nest(struct buffer *b, int type)
{
	struct nlattr *a = reserve(b, NLA_HDRLEN);

	if (a)
		a->nla_type = type | NLA_F_NESTED;
	return a;
}

static INLINE void close_nest(struct buffer *b, struct nlattr *a)
{
	a->nla_len = b->bytes + b->len - (unsigned char *)a;
}

static INLINE int encode(struct buffer *b, uint32_t seq, const struct service *svc,
		  const struct dest *dest)
{
	struct nlmsghdr *h = reserve(b, NLMSG_HDRLEN);
	struct genlmsghdr *g = reserve(b, GENL_HDRLEN);
	struct nlattr *n;

	if (!h || !g)
		return -1;
	h->nlmsg_type = FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST;
	h->nlmsg_seq = seq;
	h->nlmsg_pid = 0;
	g->cmd = IPVS_CMD_NEW_DEST;
	g->version = IPVS_GENL_VERSION;
	g->reserved = 0;
	n = nest(b, IPVS_CMD_ATTR_SERVICE);
	if (!n || put_u16(b, IPVS_SVC_ATTR_AF, svc->af) ||
	    put_u16(b, IPVS_SVC_ATTR_PROTOCOL, svc->protocol) ||
	    put(b, IPVS_SVC_ATTR_ADDR, &svc->addr, 4) ||
	    put_u16(b, IPVS_SVC_ATTR_PORT, svc->port))
		return -1;
	close_nest(b, n);
	n = nest(b, IPVS_CMD_ATTR_DEST);
	if (!n || put(b, IPVS_DEST_ATTR_ADDR, &dest->addr, 4) ||
	    put_u16(b, IPVS_DEST_ATTR_PORT, dest->port) ||
	    put_u32(b, IPVS_DEST_ATTR_FWD_METHOD, dest->forward) ||
	    put_u32(b, IPVS_DEST_ATTR_WEIGHT, dest->weight) ||
	    put_u32(b, IPVS_DEST_ATTR_U_THRESH, dest->upper) ||
	    put_u32(b, IPVS_DEST_ATTR_L_THRESH, dest->lower))
		return -1;
	close_nest(b, n);
	h->nlmsg_len = b->bytes + b->len - (unsigned char *)h;
	return 0;
}

static int barrier(struct buffer *b, uint32_t seq)
{
	struct nlmsghdr *h = reserve(b, NLMSG_HDRLEN);

	if (!h)
		return -1;
	h->nlmsg_len = NLMSG_HDRLEN;
	h->nlmsg_type = NLMSG_NOOP;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = seq;
	h->nlmsg_pid = 0;
	return 0;
}

static __attribute__((noinline)) int plain(struct buffer *b, const struct service *svc,
					   const struct dest *dests)
{
	b->len = 0;
	for (uint32_t i = 0; i < BATCH; i++)
		if (encode(b, 1 + i, svc, &dests[i]))
			return -1;
	return barrier(b, 1 + BATCH);
}

static __attribute__((noinline)) int template(struct buffer *b, const struct service *svc,
					      const struct dest *dests)
{
	unsigned char request[REQUEST];
	struct buffer one = { request, 0, sizeof(request) };

	if (encode(&one, 1, svc, &dests[0]))
		return -1;
	b->len = 0;
	for (uint32_t i = 0; i < BATCH; i++) {
		unsigned char *at = b->bytes + b->len;
		uint32_t seq = 1 + i;

		memcpy(at, request, REQUEST);
		memcpy(at + 8, &seq, 4);
		memcpy(at + 64, &dests[i].addr, 4);
		memcpy(at + 72, &dests[i].port, 2);
		memcpy(at + 80, &dests[i].forward, 4);
		memcpy(at + 88, &dests[i].weight, 4);
		memcpy(at + 96, &dests[i].upper, 4);
		memcpy(at + 104, &dests[i].lower, 4);
		b->len += REQUEST;
	}
	return barrier(b, 1 + BATCH);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	static unsigned char bytes[BATCH * REQUEST + NLMSG_HDRLEN];
	static struct dest dests[BATCH];
	struct buffer b = { bytes, 0, sizeof(bytes) };
	struct service svc = { AF_INET, IPPROTO_TCP, htonl(0x0a010000), htons(80) };
	int (*run)(struct buffer *, const struct service *, const struct dest *);
	double least = 1e9;

	if (argc != 3 || (strcmp(argv[1], "plain") && strcmp(argv[1], "template"))) {
		fprintf(stderr, "usage: encode plain|template ROUNDS\n");
		return 2;
	}
	run = strcmp(argv[1], "plain") ? template : plain;
	for (unsigned i = 0; i < BATCH; i++)
		dests[i] = (struct dest){ htonl(0x0a800000 + i), htons(8080),
					  IP_VS_CONN_F_DROUTE, 1, 0, 0 };
	for (long round = atol(argv[2]); round > 0; round--) {
		double begin = now_ns(), took;

		for (int i = 0; i < DATAGRAMS; i++) {
			if (run(&b, &svc, dests))
				return 1;
			__asm__ volatile("" : : "r"(bytes), "r"(dests) : "memory");
		}
		took = (now_ns() - begin) / (DATAGRAMS * BATCH);
		if (took < least)
			least = took;
	}
	printf("ns %.3f\n", least);
	for (size_t i = 0; i < b.len; i++)
		printf("%02x", bytes[i]);
	printf("\n");
	return 0;
}
