"""The ways to hosts by ssh: libssh2 where it serves, the ssh program where it does not, for many
configurations of real sshds; keys, passwords, and hosts that are not the ones they were."""

import os
import re
import shutil
import subprocess
import unittest

from harness import Case
from proxy import Proxy
from sshd import Sshd

WITHOUT_SSH = {"PATH": "/nowhere"}


class Ways(Case):
    replays = False

    def host(self, *lines, **more):
        self.count = getattr(self, "count", 0) + 1
        host = Sshd(self.sandbox / f"host{self.count}", *lines, **more)
        self.addCleanup(host.stop)
        return host

    def let_in(self, *hosts):
        """Puts choline's own key on the hosts."""
        line = self.choline("key").out
        for host in hosts:
            (host.folder / "login.pub").write_text(line)

    def visit(self, place, env=None):
        """What `choline doctor` says of the host."""
        result = self.choline("doctor", place, "--json", code=None, env=env)
        [line] = [each for each in result.json if each["name"] == f"host {place}"]
        return line

    def assert_way(self, place, way, *reason, env=None):
        line = self.visit(place, env)
        self.assertEqual(line["state"], "ok", line)
        self.assert_says(line["text"], f"by {way}", *reason)

    def assert_refused(self, place, *parts, env=None):
        line = self.visit(place, env)
        self.assertEqual(line["state"], "fail", line)
        self.assert_says(line["text"], *parts)
        self.assert_clean(line["text"])
        return line["text"]

    def known_hosts(self):
        path = self.home / ".local/state/choline/ssh/known_hosts"
        return path.read_text() if path.exists() else ""

    def user_file(self, name, text):
        path = self.home / ".ssh" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path


class Keys(Ways):
    def test_cholines_own_key_is_made_once_and_lets_it_in(self):
        host = self.host()
        self.assert_refused(host.name, "does not accept the login", "choline key")
        first = self.choline("key").out
        self.assertRegex(first, r"^ssh-ed25519 \S+ choline@")
        self.assertEqual(self.choline("key", "--json").json["line"] + "\n", first)
        key = self.home / ".config/choline/ssh/id_ed25519"
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.let_in(host)
        self.assert_way(host.name, "libssh2", str(key))
        self.assert_way(host.name, "libssh2", env=WITHOUT_SSH)

    def test_a_key_of_the_user_is_found_and_an_ecdsa_key_serves_too(self):
        for kind in ("ed25519", "ecdsa"):
            host = self.host()
            key = self.home / f".ssh/id_{kind}"
            key.parent.mkdir(mode=0o700, exist_ok=True)
            Sshd.make_key(key, kind)
            (host.folder / "login.pub").write_text(key.with_suffix(".pub").read_text())
            self.assert_way(host.name, "libssh2", str(key))

    def test_an_rsa_key_goes_by_the_ssh_program(self):
        host = self.host()
        key = self.home / ".ssh/id_rsa"
        key.parent.mkdir(mode=0o700)
        Sshd.make_key(key, "rsa")
        (host.folder / "login.pub").write_text(key.with_suffix(".pub").read_text())
        self.assert_way(host.name, "openssh", "is an RSA key")
        self.choline("key")  # libssh2 now has one to try
        self.assert_way(host.name, "openssh", "does not accept the login", "id_ed25519")

    def test_a_key_with_a_passphrase_serves_through_the_agent_of_keys_alone(self):
        host = self.host()
        key = self.home / ".ssh/id_ed25519"
        key.parent.mkdir(mode=0o700)
        Sshd.make_key(key, passphrase="secret")
        (host.folder / "login.pub").write_text(key.with_suffix(".pub").read_text())
        self.assert_refused(host.name, "does not accept the login")
        socket = self.sandbox / "agent"
        keeper = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        self.wait_until(socket.exists, "the agent of keys")
        env = {"SSH_AUTH_SOCK": str(socket)}
        helper = self.write("askpass", "#!/bin/sh\necho secret\n", 0o700)
        subprocess.run(["ssh-add", "-q", key], check=True, stdin=subprocess.DEVNULL,
                       env=self.environment(SSH_ASKPASS=str(helper), SSH_ASKPASS_REQUIRE="force",
                                            **env))
        self.assert_way(host.name, "libssh2", "of the agent of keys", env=env)


class HostKeys(Ways):
    def test_a_new_host_is_remembered_hashed_and_believed_by_both_ways(self):
        host = self.host()
        self.let_in(host)
        self.assert_way(host.name, "libssh2")
        self.assertRegex(self.known_hosts(), r"^\|1\|\S+ ssh-ed25519 \S+\n$")
        self.user_file("config", "Host *\n  ProxyCommand nc %h %p\n")
        if shutil.which("nc") is None:
            self.user_file("config", "Host *\n  RekeyLimit 1G\n  Ciphers aes128-ctr\n")
        self.assert_way(host.name, "openssh")
        self.assertEqual(len(self.known_hosts().splitlines()), 1)

    def test_another_key_stops_both_ways_with_the_same_sentence(self):
        host = self.host()
        self.let_in(host)
        self.assert_way(host.name, "libssh2")
        before = host.fingerprint()
        host.stop()
        host.new_host_key()
        host.start()
        said = [self.assert_refused(host.name, before, host.fingerprint(), "line 1 of ",
                                    "nothing was sent", "ssh-keygen -R")]
        self.user_file("config", "Host *\n  Ciphers aes128-ctr\n")
        said.append(self.assert_refused(host.name, before, host.fingerprint()))
        self.assertEqual(said[0], said[1])
        remedy = re.search(r"ssh-keygen -R \S+ -f \S+", said[0]).group()
        subprocess.run(remedy, shell=True, check=True, capture_output=True)
        self.assert_way(host.name, "openssh")

    def test_the_users_known_hosts_are_believed_and_another_kind_of_key_is_no_new_host(self):
        host = self.host()
        self.let_in(host)
        known = self.user_file("known_hosts", host.known_host_line())
        self.assert_way(host.name, "libssh2")
        self.assertEqual(self.known_hosts(), "")
        other = self.host(host_key="ecdsa")
        known.write_text(other.known_host_line(f"[{host.address}]:{host.port}"))
        self.assert_refused(host.name, other.fingerprint(), host.fingerprint(),
                            f"line 1 of {known}")
        known.write_text("@revoked * " + host.known_host_line().split(" ", 1)[1])
        self.assert_refused(host.name, "revoked", host.fingerprint())

    def test_a_host_with_nothing_but_an_rsa_key_is_reached_by_the_ssh_program(self):
        host = self.host(host_key="rsa")
        self.let_in(host)
        self.assert_way(host.name, "openssh", "agree on no host key")
        self.assert_way(host.name, "openssh", "its known host key is an RSA key")
        self.assert_refused(host.name, "agree on no host key", env=WITHOUT_SSH)


class Configurations(Ways):
    def test_an_alias_of_the_configuration_leads_to_its_host_by_libssh2(self):
        host = self.host()
        Sshd.make_key(self.sandbox / "key")
        (host.folder / "login.pub").write_text((self.sandbox / "key.pub").read_text())
        self.user_file("config", f"Host gpu\n  HostName {host.address}\n  Port {host.port}\n"
                                 f"  IdentityFile {self.sandbox}/key\n")
        self.assert_way("gpu", "libssh2", f"{self.sandbox}/key")

    def test_a_configuration_that_says_more_is_left_to_the_ssh_program(self):
        host = self.host()
        self.let_in(host)
        self.user_file("config", f"Host gpu\n  HostName {host.address}\n  Port {host.port}\n"
                                 f"  HostKeyAlias the-gpu\n")
        self.assert_way("gpu", "openssh", "the ssh configuration has hostkeyalias")

    def test_a_host_of_other_ciphers_is_reached_by_the_ssh_program(self):
        host = self.host("Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com")
        self.let_in(host)
        self.assert_way(host.name, "openssh", "agree on no host key, cipher or exchange")

    def test_one_session_at_a_time_is_enough(self):
        host = self.host("MaxSessions 1")
        self.let_in(host)
        self.assert_way(host.name, "libssh2")

    def test_a_login_that_gives_no_shell_says_what_it_says_instead(self):
        for line, said in (("ForceCommand echo only hello", "only hello"),
                           ("ForceCommand /bin/false", "ended with 1")):
            host = self.host(line)
            self.let_in(host)
            text = self.assert_refused(host.name, host.name, said)
            self.assertLess(len(text), 600)
        host = self.host("MaxSessions 0")
        self.let_in(host)
        self.assert_refused(host.name, "opens no channel")

    def test_a_line_that_delays_costs_time_only(self):
        host = self.host()
        self.let_in(host)
        with Proxy(host.port, delay=25) as line:
            self.assert_way(f"127.0.0.1:{line.port}", "libssh2")

    def test_the_log_says_which_way_is_taken_and_why(self):
        host = self.host(host_key="rsa")
        self.let_in(host)
        self.assertNotIn("goes by", self.choline("doctor", host.name, code=None).err)
        shown = self.choline("doctor", host.name, code=None, env={"CHOLINE_LOG": "info"}).err
        self.assertRegex(shown, f"ssh to {host.name} goes by the ssh program: .")
        log = self.sandbox / "choline.log"
        for _ in range(2):  # the second one adds its lines
            quiet = self.choline("doctor", host.name, code=None, env={"CHOLINE_LOG_FILE": str(log)})
            self.assertNotIn("goes by", quiet.err)
        self.assertEqual(log.read_text().count("goes by the ssh program"), 2)

    def test_a_log_that_cannot_be_is_refused(self):
        result = self.choline("ls", code=2, env={"CHOLINE_LOG": "loud"})
        self.assert_says(result.err, "CHOLINE_LOG is 'loud'", "debug, info, warning, error or off")
        result = self.choline("ls", code=2, env={"CHOLINE_LOG_FILE": "/dev/null/choline.log"})
        self.assert_says(result.err, "/dev/null/choline.log")

    def test_a_port_that_nobody_or_somebody_else_listens_on(self):
        host = self.host()
        host.stop()
        self.assert_refused(host.name, "Connection refused", str(host.port))
        self.assert_refused("no-such-host.invalid", "cannot be resolved")


@unittest.skipUnless(os.geteuid() == 0, "sets a password of its own for root, in a mount namespace")
class Passwords(Ways):
    CHOLFILE = """
    secret "LAB"
    local gpu = instance "gpu" { from = { ssh { hosts = "%s", password = secret.LAB, %s } } }
    task "t" { on = gpu, run = "echo trained" }
    """

    def guarded(self, *lines, also="true"):
        """An sshd for which root's password is "open sesame"."""
        word = subprocess.run(["openssl", "passwd", "-6", "open sesame"], check=True,
                              capture_output=True, text=True).stdout.strip()
        shadow = self.write("shadow", f"root:{word}:19000:0:99999:7:::\n", 0o600)
        bind = f"mount --bind {shadow} /etc/shadow && {also} && exec \"$@\""
        return self.host("PermitRootLogin yes", "PubkeyAuthentication no", *lines,
                         wrap=["unshare", "-m", "sh", "-c", bind, "sh"])

    def try_password(self, host, more, word="open sesame", code=0):
        self.cholfile(self.CHOLFILE % (host.name, more))
        result = self.choline("run", "--new", code=code, env={"LAB": word})
        self.assertNotIn(word, result.out + result.err)
        return result

    def test_a_password_lets_in_by_both_ways(self):
        host = self.guarded("PasswordAuthentication yes")
        for way in ("libssh2", "openssh"):
            self.try_password(host, f'transport = "{way}"')
            self.assert_says(self.choline("logs").out, "trained")

    def test_a_wrong_password_is_refused_by_both_ways_and_never_shown(self):
        host = self.guarded("PasswordAuthentication yes")
        for way in ("libssh2", "openssh"):
            result = self.try_password(host, f'transport = "{way}"', "open barley", code=None)
            self.assertNotEqual(result.code, 0)
            self.assert_says(result.out + result.err, "does not accept the login")

    def asking(self, *stack):
        """A host that takes no password as such, and asks by PAM as `stack` says."""
        lines = [*(f"auth {each}" for each in stack), "account required pam_unix.so",
                 "session required pam_permit.so"]
        rules = self.write("pam", "\n".join(lines) + "\n")
        return self.guarded("UsePAM yes", "KbdInteractiveAuthentication yes",
                            also=f"mount --bind {rules} /etc/pam.d/sshd")

    def test_a_password_answers_a_host_that_asks_for_it_in_its_own_words(self):
        # Twice, in rounds of their own, as some hosts do.
        host = self.asking("required pam_unix.so", "required pam_unix.so")
        accepted = 0
        for way in ("libssh2", "openssh"):
            self.try_password(host, f'transport = "{way}"')
            self.assert_says(self.choline("logs").out, "trained")
            log = (host.folder / "sshd.log").read_text()
            before, accepted = accepted, log.count("Accepted keyboard-interactive/pam for")
            self.assertGreater(accepted, before)
            self.assertNotIn("Accepted password", log)

    def test_a_wrong_answer_is_refused_by_both_ways_and_never_shown(self):
        host = self.asking("required pam_unix.so nodelay")
        for way in ("libssh2", "openssh"):
            result = self.try_password(host, f'transport = "{way}"', "open barley", code=None)
            self.assertNotEqual(result.code, 0)
            self.assert_says(result.out + result.err, "does not accept the login")

    def test_a_password_that_is_no_secret_is_refused(self):
        self.cholfile('local gpu = instance "gpu" { from = { ssh { hosts = "a", '
                      'password = "open sesame" } } }\ntask "t" { on = gpu, run = "true" }\n')
        result = self.choline("check", code=None)
        self.assertNotEqual(result.code, 0)
        self.assert_says(result.out + result.err, "secret.NAME", "got a string")
