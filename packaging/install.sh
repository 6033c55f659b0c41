#!/bin/sh
# Installs Mobula: program, service, manual pages, completions and an example configuration.
#
#   curl -sSL BASE/install.sh | sh            install, and start the agent
#   sh install.sh --help                      everything else
#
# Nothing is run before its last line has arrived, nothing is changed before everything is verified,
# and what was changed is put back when a later step fails.
set -eu
umask 022

# Set by `cargo xtask dist`: the release that this script belongs to, and the minisign key that
# its list of checksums is signed with.
release=''
public_key=''
repository='https://github.com/mobula/mobula'

usage() {
    cat <<EOF
Usage: install.sh [OPTION]...
Install Mobula on this machine, or remove it.

  --version VERSION  the release to install (this script's own: ${release:-none})
  --prefix DIR       where program, manual pages and completions go (/usr/local)
  --root DIR         root directory of the machine: an image that is being made (/)
  --no-start         do not start the agent now; it starts at the next boot
  --no-service       only the files; root is needed only where they go
  --dry-run          download, verify, and say what would be done
  --uninstall        remove what this script installed; volumes and configuration stay
  --force            with --uninstall: also while volumes are mounted; they stay mounted
  --help             this text

Environment:
  MOBULA_URL         folder of the release: http://, https://, file:// or a directory; it has the
                     files that \`cargo xtask dist\` makes
  MOBULA_VERSION     as --version
  MOBULA_PUBKEY      minisign public key to verify with, or a file with it
EOF
}

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
    warn "$*"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# --- what is wanted, and where ---------------------------------------------------------------

read_options() {
    version=${MOBULA_VERSION:-$release}
    prefix=/usr/local root='' start=yes service=yes dry_run='' uninstall='' force=''
    while [ $# -gt 0 ]; do
        case $1 in
            --version | --prefix | --root)
                [ $# -ge 2 ] || usage_error "$1 needs a value"
                case $1 in
                    --version) version=$2 ;;
                    --prefix) prefix=$2 ;;
                    --root) root=$2 ;;
                esac
                shift
                ;;
            --version=*) version=${1#*=} ;;
            --prefix=*) prefix=${1#*=} ;;
            --root=*) root=${1#*=} ;;
            --no-start) start='' ;;
            --no-service) service='' ;;
            --dry-run) dry_run=yes ;;
            --uninstall) uninstall=yes ;;
            --force) force=yes ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) usage_error "there is no option $1" ;;
        esac
        shift
    done
    for dir in "$prefix" "${root:-/}"; do
        case $dir in
            /*[!A-Za-z0-9/._+-]*) usage_error "only letters, digits and /._+- may be in $dir" ;;
            /*) ;;
            *) usage_error "$dir is no absolute path" ;;
        esac
    done
    [ "$root" != / ] || root=''
    case ${version:-none} in
        *[!A-Za-z0-9._+-]*) usage_error "$version is no version" ;;
    esac
}

usage_error() {
    warn "$*; --help shows what there is"
    exit 2
}

# The machine, and whether it can run Mobula at all. The program is one static file: neither a
# distribution nor its C library matters.
check_machine() {
    system=$(uname -s)
    [ "$system" = Linux ] || fail "Mobula runs on Linux, and this is $system"
    machine=$(uname -m)
    case $machine in
        x86_64 | amd64) arch=x86_64 ;;
        aarch64 | arm64 | armv8*) arch=aarch64 ;;
        *) fail "there is no Mobula for the processor $machine, only for x86_64 and aarch64; it can be built from source: $repository" ;;
    esac
    kernel=$(uname -r)
    major=${kernel%%.*}
    minor=${kernel#*.}
    minor=${minor%%[!0-9]*}
    case $major:$minor in
        *[!0-9:]* | :* | *:) ;;
        *)
            if [ "$major" -lt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -lt 12 ]; }; then
                fail "Mobula needs Linux 5.12 or newer, and this is $kernel"
            fi
            ;;
    esac
    # shellcheck source=/dev/null
    distribution=$(. "$root/etc/os-release" 2>/dev/null && printf '%s' "${PRETTY_NAME:-$ID}") || distribution=Linux
    # shellcheck source=/dev/null
    family=$(. "$root/etc/os-release" 2>/dev/null && printf '%s %s' "${ID:-}" "${ID_LIKE:-}") || family=''
}

check_permission() {
    if [ -n "$service" ] && [ -z "$root$dry_run" ] && [ "$(id -u)" != 0 ]; then
        fail "only root may change the services of this machine; try sudo, or --no-service with a --prefix of your own"
    fi
}

check_packages() {
    if [ -e "$root/var/lib/dpkg/info/mobula.list" ]; then
        fail "the Debian package mobula is installed; upgrade it with apt, or remove it first: apt-get remove mobula"
    fi
    if [ -z "$root" ] && has rpm && rpm -q mobula >/dev/null 2>&1; then
        fail "the RPM package mobula is installed; upgrade it with dnf, or remove it first: dnf remove mobula"
    fi
}

# --- getting the release ---------------------------------------------------------------------

# fetch NAME FILE
fetch() {
    case $base in
        http://* | https://*)
            if has curl; then
                curl -fsSL --retry 2 --connect-timeout 30 -o "$2" "$base/$1" && return
            elif has wget; then
                wget -q -O "$2" "$base/$1" && return
            else
                fail "neither curl nor wget is here; install one of them, or let MOBULA_URL name a folder with the release"
            fi
            ;;
        file://*) cp "${base#file://}/$1" "$2" && return ;;
        *) cp "$base/$1" "$2" && return ;;
    esac
    fail "$base/$1 could not be fetched whole; nothing was changed"
}

download() {
    [ -n "$version" ] || fail "which release? This script belongs to none: say --version, and MOBULA_URL"
    base=${MOBULA_URL:-$repository/releases/download/v$version}
    base=${base%/}
    name=mobula-$version-linux-$arch
    say "Mobula $version for $arch, on $distribution, from $base"
    fetch SHA256SUMS "$work/SHA256SUMS"
    fetch SHA256SUMS.minisig "$work/SHA256SUMS.minisig"
    verify_signature
    wanted=$(awk -v name="$name.tar.gz" '$2 == name { print $1 }' "$work/SHA256SUMS")
    [ -n "$wanted" ] || fail "$base has no $name.tar.gz; it has: $(awk '{ printf "%s ", $2 }' "$work/SHA256SUMS")"
    fetch "$name.tar.gz" "$work/release.tar.gz"
    found=$(checksum "$work/release.tar.gz")
    [ "$found" = "$wanted" ] || fail "$name.tar.gz is not what was released: its SHA-256 is $found, and should be $wanted; nothing was changed"
    tar -xzf "$work/release.tar.gz" -C "$work" || fail "$name.tar.gz cannot be unpacked in $work (is it full?); nothing was changed"
    tree=$work/$name
    runs=$("$tree/bin/mobula" version -q) || fail "this machine cannot run the program (may files in $work be run?); nothing was changed"
    [ "$runs" = "$version" ] || fail "$name.tar.gz has version $runs in it; nothing was changed"
}

checksum() {
    if has sha256sum; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
    fi
}

# The list is signed with minisign: Ed25519 over BLAKE2b of it, and over the signature with its
# comment (https://jedisct1.github.io/minisign/, "Signature format").
verify_signature() {
    key=${MOBULA_PUBKEY:-$public_key}
    [ -n "$key" ] || fail "this script has no public key; give the release's as MOBULA_PUBKEY"
    [ ! -f "$key" ] || key=$(sed -n '/^RW/p' "$key")
    if has minisign; then
        minisign -V -q -P "$key" -m "$work/SHA256SUMS" -x "$work/SHA256SUMS.minisig" >&2 || bad_signature
    elif has openssl && openssl pkeyutl -help 2>&1 | grep -q -e -rawin; then
        verify_with_openssl || bad_signature
    else
        fail "nothing here can verify an Ed25519 signature; install minisign, or openssl 3 or newer; nothing was changed"
    fi
    say "the signature of the list of checksums is good"
}

bad_signature() {
    fail "SHA256SUMS is not signed with the key $key: it was changed, or belongs to another release; nothing was changed"
}

verify_with_openssl() {
    sed -n 2p "$work/SHA256SUMS.minisig" | openssl base64 -d -A >"$work/signature" || return 1
    sed -n 4p "$work/SHA256SUMS.minisig" | openssl base64 -d -A >"$work/global" || return 1
    printf '%s' "$key" | openssl base64 -d -A >"$work/key" || return 1
    # Two bytes of algorithm, eight of the key's number, then the key or the signature.
    [ "$(bytes key 0 2)" = "Ed" ] && [ "$(bytes signature 0 2)" = "ED" ] || return 1
    [ "$(bytes key 2 8 | od -An -tx1)" = "$(bytes signature 2 8 | od -An -tx1)" ] || return 1
    bytes signature 10 64 >"$work/bare"
    # RFC 8410: what stands before the 32 bytes of an Ed25519 public key.
    {
        printf '\060\052\060\005\006\003\053\145\160\003\041\000'
        bytes key 10 32
    } >"$work/key.der"
    openssl dgst -blake2b512 -binary "$work/SHA256SUMS" >"$work/message" || return 1
    ed25519 "$work/message" "$work/bare" || return 1
    {
        cat "$work/bare"
        sed -n '3s/^trusted comment: //p' "$work/SHA256SUMS.minisig" | tr -d '\n'
    } >"$work/message"
    ed25519 "$work/message" "$work/global"
}

# bytes FILE OFFSET COUNT
bytes() { dd if="$work/$1" bs=1 skip="$2" count="$3" 2>/dev/null; }

# ed25519 MESSAGE SIGNATURE
ed25519() {
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$1" -sigfile "$2" >/dev/null 2>&1
}

# --- putting the files there -----------------------------------------------------------------

# Where a file of the release goes.
destination() {
    case $1 in
        etc/*) printf '%s' "$root/$1" ;;
        *) printf '%s' "$root$prefix/$1" ;;
    esac
}

record=share/mobula/installed

# The names of the files are the release's: letters, digits and -._/ only.
list_files() { (cd "$tree" && find . -type f | sed 's|^\./||' | LC_ALL=C sort); }

write_record() {
    mkdir -p "$tree/share/mobula"
    {
        say "mobula $version"
        for file in $(list_files); do
            [ "$file" = "$record" ] || { destination "$file" && say; } | sed "s|^$root/|/|"
        done
        destination "$record" | sed "s|^$root/|/|"
        say
    } >"$work/record"
    cp "$work/record" "$tree/$record"
}

# What differs from what is there goes beside its place, under another name, and then all of it
# takes its place. Until that is done, the end of this script puts everything back.
place_files() {
    write_record
    : >"$work/staged"
    : >"$work/switched"
    : >"$work/dirs"
    changing=yes
    for file in $(list_files); do
        to=$(destination "$file")
        if cmp -s "$tree/$file" "$to"; then
            continue
        fi
        make_dirs "${to%/*}"
        say "$to" >>"$work/staged"
        cp "$tree/$file" "$to.mobula-new" || fail "$to cannot be written"
        case $file in
            bin/*) chmod 755 "$to.mobula-new" ;;
            *) chmod 644 "$to.mobula-new" ;;
        esac
        cmp -s "$tree/$file" "$to.mobula-new" || fail "$to cannot be written whole"
    done
    changed=''
    while read -r to; do
        changed=yes
        if [ -e "$to" ]; then
            ln -f "$to" "$to.mobula-old" 2>/dev/null || cp -p "$to" "$to.mobula-old" || fail "$to cannot be kept"
        fi
        say "$to" >>"$work/switched"
        # A program that runs goes on with the file that it has.
        mv -f "$to.mobula-new" "$to" || fail "$to cannot be replaced"
    done <"$work/staged"
    changing=''
    while read -r to; do
        rm -f "$to.mobula-old"
    done <"$work/switched"
}

# Makes a directory and those above it, and remembers which.
make_dirs() {
    [ ! -d "$1" ] || return 0
    make_dirs "${1%/*}"
    mkdir "$1" || fail "$1 cannot be made"
    say "$1" >>"$work/dirs"
}

put_back() {
    while read -r to; do
        if [ -e "$to.mobula-old" ]; then
            mv -f "$to.mobula-old" "$to" || warn "$to.mobula-old is the old $to, and cannot be put back"
        else
            rm -f "$to"
        fi
    done <"$work/switched"
    while read -r to; do
        rm -f "$to.mobula-new" "$to.mobula-old"
    done <"$work/staged"
    reversed "$work/dirs" | while read -r dir; do
        rmdir "$dir" 2>/dev/null || true
    done
    warn "nothing was changed; a --prefix elsewhere, or more room, may help"
}

reversed() { awk '{ line[NR] = $0 } END { for (n = NR; n > 0; n--) print line[n] }' "$1"; }

# Called whenever the script ends, however it ends.
clean_up() {
    code=$?
    trap - EXIT HUP INT TERM
    [ -z "${changing:-}" ] || put_back
    rm -rf "$work"
    exit "$code"
}

# --- the service -----------------------------------------------------------------------------

has_init() {
    [ -n "$root" ] || [ -d /run/systemd/system ] || [ -e /run/openrc/softlevel ] || [ -d /etc/init.d ]
}

install_service() {
    [ -n "$service" ] || return 0
    if ! has_init; then
        warn "no init system is known here; have \`$prefix/bin/mobula start\` started your own way"
        return
    fi
    was=0
    [ -n "$root" ] || "$prefix/bin/mobula" service status >/dev/null 2>&1 || was=$?
    set -- --root "${root:-/}" --program "$prefix/bin/mobula"
    [ -n "$start" ] || set -- "$@" --no-start
    "$root$prefix/bin/mobula" service install "$@" >"$work/service" ||
        fail "the files are installed, and the service is not; when that is mended: mobula service install"
    case $(cat "$work/service") in
        *"installed already"*) ;;
        *)
            changed=yes
            cat "$work/service"
            ;;
    esac
    # A running agent is the old program until it is started again. What is mounted stays mounted.
    if [ -z "$root" ] && [ "$was" = 0 ] && [ -n "$changed_files" ]; then
        restart_service
    fi
}

restart_service() {
    if [ -z "$start" ]; then
        say "the agent goes on with the old program until: mobula service restart"
        return
    fi
    "$prefix/bin/mobula" service restart || fail "the new agent does not start; mobula service status, and its log, say more"
    if "$prefix/bin/mobula" service status engine >/dev/null 2>&1; then
        "$prefix/bin/mobula" service restart engine || fail "the new plugin engine does not start; its log says more"
    fi
}

# --- the two jobs ----------------------------------------------------------------------------

show_plan() {
    write_record
    for file in $(list_files); do
        to=$(destination "$file")
        if cmp -s "$tree/$file" "$to"; then
            say "as it is: $to"
        else
            say "install:  $to"
        fi
    done
    [ -z "$service" ] || say "then:     $prefix/bin/mobula service install"
    say "nothing was changed"
}

install_mobula() {
    check_machine
    check_permission
    check_packages
    download
    if [ -n "$dry_run" ]; then
        show_plan
        return
    fi
    if [ -e "$root$prefix/$record" ]; then
        cp "$root$prefix/$record" "$work/before"
    fi
    place_files
    changed_files=$changed
    remove_leftovers
    install_service
    if [ -z "$changed" ]; then
        say "Mobula $version is installed already; nothing was changed"
        return
    fi
    say "Mobula $version is installed: $prefix/bin/mobula"
    tell_missing
    [ -z "$start" ] || [ -z "$service" ] || [ -n "$root" ] || say "try: docker volume create -d mobula -o size=1GiB first"
}

# Files of the release before that this one no longer has.
remove_leftovers() {
    [ -e "$work/before" ] || return 0
    sed 1d "$work/before" | while read -r file; do
        grep -q -x -F "$file" "$work/record" || rm -f "$root$file"
    done
}

tell_missing() {
    missing=''
    for tool in blkid mkfs.ext4; do
        PATH=$PATH:/usr/sbin:/sbin has "$tool" || missing="$missing $tool"
    done
    [ -n "$missing" ] && [ -z "$root" ] || return 0
    case " $family " in
        *" debian "* | *" ubuntu "*) with='apt-get install util-linux e2fsprogs' ;;
        *" fedora "* | *" rhel "* | *" centos "*) with='dnf install util-linux e2fsprogs' ;;
        *" suse "* | *" opensuse "*) with='zypper install util-linux e2fsprogs' ;;
        *" alpine "*) with='apk add blkid e2fsprogs' ;;
        *" arch "*) with='pacman -S util-linux e2fsprogs' ;;
        *) with='util-linux and e2fsprogs have them' ;;
    esac
    warn "volumes need$missing: $with"
}

# Volumes and mounts of plugins, by the kernel's word: the agent may be gone.
mounted() {
    awk '$5 ~ "^/run/mobula/mounts/[^/]+/[^/]+$" { sub("^/run/mobula/mounts/", "", $5); print $5 }
         $5 ~ "^/var/lib/mobula/plugins/[^/]+/propagated-mount/" { print $5 }' /proc/self/mountinfo
}

uninstall_service() {
    has_init || return 0
    if ! "$program" version -q >/dev/null 2>&1; then
        remove_service_by_hand
        return
    fi
    for part in engine agent; do
        "$program" service uninstall "$part" --root "${root:-/}" ${force:+--force} >"$work/service" ||
            fail "the service could not be removed; nothing else was"
        grep -v 'is not installed' "$work/service" || true
    done
}

# For a program that is damaged, or not there.
remove_service_by_hand() {
    for name in mobula-engine mobula; do
        if [ -z "$root" ] && [ -d /run/systemd/system ]; then
            systemctl disable --now "$name.service" || true
        elif [ -z "$root" ] && [ -x "/etc/init.d/$name" ]; then
            "/etc/init.d/$name" stop || true
        fi
        rm -f "$root/etc/systemd/system/$name.service" "$root/etc/init.d/$name" \
            "$root/etc/systemd/system/multi-user.target.wants/$name.service" \
            "$root/etc/runlevels/default/$name" "$root"/etc/rc?.d/[SK]??"$name"
    done
}

uninstall_mobula() {
    check_permission
    program=$root$prefix/bin/mobula
    if [ ! -e "$root$prefix/$record" ]; then
        say "Mobula is not installed in $root$prefix; nothing was changed"
        return
    fi
    if [ -z "$root$force" ] && [ -n "$(mounted)" ]; then
        warn "volumes are mounted: $(mounted | tr '\n' ' ')"
        "$program" mounts >&2 || true
        fail "without the program nobody could unmount them; stop what uses them, unmount them, or say --force; nothing was changed"
    fi
    cp "$root$prefix/$record" "$work/before"
    if [ -n "$dry_run" ]; then
        sed 1d "$work/before" | sed 's|^|remove: |'
        say "nothing was changed"
        return
    fi
    [ -z "$service" ] || uninstall_service
    sed 1d "$work/before" | while read -r file; do
        rm -f "$root$file" || fail "$root$file cannot be removed"
    done
    for dir in "$root$prefix/share/mobula" "$root$prefix/share/doc/mobula" "$root/etc/mobula"; do
        rmdir "$dir" 2>/dev/null || true
    done
    say "Mobula is removed; volumes (/var/lib/mobula) and configuration (/etc/mobula) are as they were"
}

main() {
    read_options "$@"
    work=$(mktemp -d "${TMPDIR:-/tmp}/mobula-install.XXXXXX") || fail "no temporary directory can be made"
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if [ -n "$uninstall" ]; then
        uninstall_mobula
    else
        install_mobula
    fi
}

main "$@"
