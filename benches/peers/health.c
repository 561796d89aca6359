/*
 * The floor of `cargo xtask bench health`: TCP connect checks as fast as one
 * loop can make them, and nothing else: no timers, no verdicts, no targets to
 * look up. Sockets are made once; connect, wait, connect(AF_UNSPEC).
 *
 * usage: health TARGETS WINDOW     targets are 127.16.0.1 and up, port 80
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: health TARGETS WINDOW\n");
		return 2;
	}
	targets = (uint32_t)atol(argv[1]);
	int window = atoi(argv[2]);
	int poll = epoll_create1(0);
	if (poll < 0)
		fail("epoll_create1");
	for (int at = 0; at < window; at++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		int on = 1;
		struct epoll_event event = { .events = EPOLLOUT | EPOLLET,
					     .data.fd = fd };
		if (fd < 0 ||
		    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on) ||
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
