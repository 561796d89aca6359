/*
 * For `cargo xtask bench health`, preloaded into keepalived: its requests to
 * IPVS become netlink's NOOP, which every kernel acks. So its checkers run
 * where there is no ip_vs, and pay for each request no less than a system call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/netlink.h>

struct nl_sock;
struct nl_msg;
struct nlmsghdr *nlmsg_hdr(struct nl_msg *msg);

/* Any number does: none is sent. */
int genl_ctrl_resolve(struct nl_sock *sock, const char *name)
{
	(void)sock;
	(void)name;
	return 28;
}

int nl_send_auto(struct nl_sock *sock, struct nl_msg *msg)
{
	static int (*real)(struct nl_sock *, struct nl_msg *);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "nl_send_auto");
	struct nlmsghdr *header = nlmsg_hdr(msg);
	header->nlmsg_type = NLMSG_NOOP;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	return real(sock, msg);
}
