#!/usr/bin/env bash
# Installs Keycloak, which a test takes tokens from: scripts/install-keycloak.sh VERSION FOLDER
#
# The distribution comes from Maven Central, or from the repository that MAVEN_REPOSITORY names, or from the mirror of
# Maven Central in ~/.m2/settings.xml. It needs Java 17 or later, which is installed from Debian's packages when it is
# missing and we may. FOLDER/.ready is written last.
set -euo pipefail

version=$1 folder=$2
declare -A known=([26.4.7]=dd9834c023460be856f731423d86228c23b5d002194a2064642bec0cc6573eaa)
fail() { echo "install-keycloak: $1" >&2; exit 1; }

repository() {
    local settings=$HOME/.m2/settings.xml
    if [[ -n ${MAVEN_REPOSITORY:-} ]]; then
        echo "${MAVEN_REPOSITORY%/}"
    elif [[ -f $settings ]]; then
        python3 - "$settings" <<'PYTHON'
import sys, xml.etree.ElementTree as xml
central = "https://repo.maven.apache.org/maven2"
for mirror in xml.parse(sys.argv[1]).getroot().iter():
    if mirror.tag.split("}")[-1] == "mirror":
        fields = {field.tag.split("}")[-1]: (field.text or "").strip() for field in mirror}
        if {"*", "central", "external:*"} & set(fields.get("mirrorOf", "").split(",")):
            central = fields["url"].rstrip("/")
            break
print(central)
PYTHON
    else
        echo https://repo.maven.apache.org/maven2
    fi
}

java_version() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1; }
if [[ $(java_version || true) -lt 17 ]]; then
    command -v apt-get >/dev/null && [[ $(id -u) == 0 ]] || fail "Java 17 or later is needed; install it and try again"
    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless >/dev/null
    [[ $(java_version) -ge 17 ]] || fail "Debian's openjdk-17-jre-headless gave no Java 17"
fi

sha256=${known[$version]:-} && [[ -n $sha256 ]] || fail "no checksum is known of Keycloak $version"
rm -rf "$folder" "$folder.tmp"
mkdir -p "$folder.tmp"
url=$(repository)/org/keycloak/keycloak-quarkus-dist/$version/keycloak-quarkus-dist-$version.zip
curl -fsSL --retry 3 -o "$folder.tmp/keycloak.zip" "$url" || fail "cannot download $url (MAVEN_REPOSITORY names another)"
echo "$sha256  $folder.tmp/keycloak.zip" | sha256sum --check --quiet || fail "$url is not the file that was expected"
python3 -m zipfile -e "$folder.tmp/keycloak.zip" "$folder.tmp"
rm "$folder.tmp/keycloak.zip"
mv "$folder.tmp/keycloak-$version" "$folder"
rmdir "$folder.tmp"
# Built once for a database in memory, so that each start is a matter of seconds.
bash "$folder/bin/kc.sh" build --db=dev-mem >"$folder/build.log" 2>&1 || fail "the build failed: $folder/build.log"
touch "$folder/.ready"
