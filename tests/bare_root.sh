# shellcheck shell=bash
# A bare root of a Debian or Ubuntu release: sourced by the scripts that use one, never run.

# make_root RELEASE ROOT PACKAGES...: make it with debootstrap unless it is there, and install packages into it.
make_root() {
    local release=$1 root=$2 how=() chrooted keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    shift 2
    chrooted=(chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin)
    {
        # A debootstrap that is older than a release of Ubuntu makes it as any other, from Ubuntu's usual mirror.
        case $release in jammy | noble | plucky) how=("" gutsy) ;; esac
        # Without Ubuntu's keys, debootstrap looks for the release at Debian's mirror.
        if [ "${#how[@]}" != 0 ] && [ ! -e "$keyring" ]; then
            echo "$keyring is missing: install the package ubuntu-keyring, from Ubuntu if Debian has none"
            return 1
        fi
        [ -x "$root/usr/bin/apt-get" ] || debootstrap --variant=minbase "$release" "$root" "${how[@]}"
        [ "${#how[@]}" = 0 ] || sed -i 's/ main$/ main universe/' "$root/etc/apt/sources.list"
        cp -L /etc/resolv.conf "$root/etc/resolv.conf"
        printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no package starts a service in here
        chmod +x "$root/usr/sbin/policy-rc.d"
        "${chrooted[@]}" apt-get update -qq
        "${chrooted[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    } >&2 </dev/null
}
