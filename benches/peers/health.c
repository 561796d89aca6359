/*
 * The floors of `cargo xtask bench health`: TCP checks as fast as one loop can
 * make them, and nothing else: no timers, no verdicts, no targets to look up.
 *
 * connect, half: sockets are made once; connect, wait, connect(AF_UNSPEC). With
 *   half the handshake's end is put off, so that nobody accepts.
 * syn: a raw socket; SYNs by sendmmsg, what comes back by recvmmsg. The kernel
 *   resets what it knows nothing of.
 *
 * usage: health TARGETS WINDOW connect|half|syn
 *   targets are 127.16.0.1 and up, port 80
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST 0x7f100001u
#define EVENTS 512

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint32_t targets, next;

static void begin(int fd)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(80),
		.sin_addr.s_addr = htonl(FIRST + next),
	};
	next = next + 1 == targets ? 0 : next + 1;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
		fail("connect");
}

static void connecting(int window, int half)
{
	int poll = epoll_create1(0);
	if (poll < 0)
		fail("epoll_create1");
	for (int at = 0; at < window; at++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		struct epoll_event event = { .events = EPOLLOUT | EPOLLET,
					     .data.fd = fd };
		if (fd < 0 ||
		    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &half, sizeof half) ||
		    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
			fail("socket");
		begin(fd);
	}
	struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	struct epoll_event events[EVENTS];
	for (;;) {
		int count = epoll_wait(poll, events, EVENTS, -1);
		if (count < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int at = 0; at < count; at++) {
			int fd = events[at].data.fd;
			/* The edge of the disconnect itself. */
			if (events[at].events & EPOLLHUP)
				continue;
			if (connect(fd, &nowhere, sizeof nowhere))
				fail("disconnect");
			begin(fd);
		}
	}
}

#define BATCH 64

struct segment {
	uint16_t source, destination;
	uint32_t sequence, acknowledgment;
	uint16_t offset_flags, window, checksum, urgent;
	uint8_t mss[4];
};

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void syns(void)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_TCP);
	int reserved = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in own = { .sin_family = AF_INET };
	socklen_t length = sizeof own;
	if (fd < 0 || reserved < 0 || bind(reserved, (struct sockaddr *)&own, length) ||
	    getsockname(reserved, (struct sockaddr *)&own, &length))
		fail("socket");
	struct sock_filter ours[] = {
		{ 0xb1, 0, 0, 0 }, { 0x48, 0, 0, 2 },
		{ 0x15, 0, 1, ntohs(own.sin_port) },
		{ 0x06, 0, 0, 0xffffffff }, { 0x06, 0, 0, 0 },
	};
	struct sock_fprog program = { 5, ours };
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		fail("filter");
	static struct segment out[BATCH];
	static struct sockaddr_in to[BATCH];
	static char in[BATCH][64];
	struct iovec out_at[BATCH], in_at[BATCH];
	struct mmsghdr send[BATCH] = { 0 }, receive[BATCH] = { 0 };
	uint32_t sequence = 0;
	uint64_t answers = 0;
	for (;;) {
		for (int at = 0; at < BATCH; at++) {
			uint32_t address = FIRST + next;
			next = next + 1 == targets ? 0 : next + 1;
			to[at] = (struct sockaddr_in){ .sin_family = AF_INET,
						       .sin_addr.s_addr = htonl(address) };
			out[at] = (struct segment){
				own.sin_port, htons(80), htonl(sequence++), 0,
				htons(0x6002), htons(1024), 0, 0, { 2, 4, 2, 24 } };
			/* From 127.0.0.1, protocol and length. */
			uint32_t sum = 0x7f00 + 1 + (address >> 16) + (address & 0xffff) + 6 + 24;
			uint16_t word[12];
			memcpy(word, &out[at], sizeof word);
			for (int n = 0; n < 12; n++)
				sum += ntohs(word[n]);
			out[at].checksum = htons(~fold(sum));
			out_at[at] = (struct iovec){ &out[at], sizeof out[at] };
			send[at].msg_hdr = (struct msghdr){ .msg_name = &to[at],
				.msg_namelen = sizeof to[at], .msg_iov = &out_at[at], .msg_iovlen = 1 };
			in_at[at] = (struct iovec){ in[at], sizeof in[at] };
			receive[at].msg_hdr = (struct msghdr){ .msg_iov = &in_at[at], .msg_iovlen = 1 };
		}
		if (sendmmsg(fd, send, BATCH, 0) < 0)
			fail("sendmmsg");
		for (int count = BATCH; count == BATCH;) {
			count = recvmmsg(fd, receive, BATCH, MSG_DONTWAIT, 0);
			for (int at = 0; at < count; at++)
				answers += (in[at][33] & 0x12) == 0x12;
		}
		if (sequence == 1 << 20 && answers < sequence / 2)
			fail("few answers");
	}
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: health TARGETS WINDOW connect|half|syn\n");
		return 2;
	}
	targets = (uint32_t)atol(argv[1]);
	int window = atoi(argv[2]);
	if (!strcmp(argv[3], "syn"))
		syns();
	connecting(window, !strcmp(argv[3], "half"));
}
