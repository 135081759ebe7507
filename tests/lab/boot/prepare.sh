#!/bin/bash
# prepare.sh ext4|lvm initramfs-tools|dracut
#
# In a guest of the lab: installs dm-psa on the system of /dev/vdb1, and makes its initramfs. With lvm, the root file system
# is moved to a logical volume first. The packages are in /share/deb; the initramfs, and the word for root= on the kernel
# command line, are put into /share. Called by host/boot-disk.
set -e
system=$1 maker=$2
disk=/dev/vdb1 root=/mnt kernel=$(uname -r)
if [ "$system" = lvm ]; then
    pvcreate -q -ff -y $disk
    vgcreate -q psa $disk
    lvcreate -q -y -l 100%FREE -n root psa
    disk=/dev/psa/root
    mkfs.ext4 -q $disk
    mount $disk $root
    cp -ax / $root
    mkdir -p $root/lab $root/share
    echo /dev/mapper/psa-root >/share/root
else
    # The guests of the lab end without a shutdown.
    tune2fs -j $disk >/dev/null
    mount $disk $root
    echo "UUID=$(blkid -s UUID -o value $disk)" >/share/root
fi
cp /share/deb/*.deb $root/tmp/
for each in proc sys dev; do mount --rbind /$each $root/$each; done
mount -t tmpfs run $root/run
mkdir $root/run/udev
mount --bind /run/udev $root/run/udev

# These disks are on no storage network, so they are hidden from LVM only if they had a map before.
[ "$system" != lvm ] || { mkdir -p $root/etc/dm-psa/state; echo '{ "devices": ["35000c50015ea7100"] }' >$root/etc/dm-psa/state/memory.json; }

# Only what this guest boots from; the modules of all drivers would take minutes to pack.
drivers=(virtio_pci virtio_scsi sd_mod ext4)
printf 'MODULES=list\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\n' >$root/etc/initramfs-tools/conf.d/lab
printf '%s\n' "${drivers[@]}" >$root/etc/initramfs-tools/modules
# multipath-tools is only a peer to be measured. Its place is taken.
rm -f $root/etc/udev/rules.d/*.rules
chroot $root sh -c "dpkg --unpack /tmp/dm-psa_*.deb /tmp/dm-psa-boot_*.deb"
chroot $root dpkg --configure dm-psa dm-psa-boot
chroot $root systemctl enable dm-psa.service
if [ "$maker" = dracut ]; then
    mkdir -p $root/etc/dracut.conf.d
    # A generic image: this guest has other disks than the one that it prepares.
    printf 'hostonly=no\ncompress="gzip -1"\nadd_drivers+=" %s "\n' "${drivers[*]}" >$root/etc/dracut.conf.d/lab.conf
    chroot $root dracut --force "/boot/initrd.img-$kernel" "$kernel"
else
    chroot $root update-initramfs -c -k "$kernel"
fi

cat >$root/etc/fstab <<F
$(cat /share/root) / ext4 rw 0 0
lab /lab 9p trans=virtio,version=9p2000.L,msize=262144,ro 0 0
share /share 9p trans=virtio,version=9p2000.L,msize=262144 0 0
F
printf '%s\n' 9pnet_virtio 9p virtio_console >$root/etc/modules-load.d/lab.conf
mkdir -p $root/etc/systemd/system/lab-script.service.d
cat >$root/etc/systemd/system/lab-script.service.d/boot.conf <<U
[Unit]
RequiresMountsFor=/lab /share
[Service]
ExecStartPre=/bin/sh -c 'mkdir -p /run/lab && cp -R /share/.job/. /run/lab/'
U
cp $root/boot/initrd.img-"$kernel" /share/initrd
ls -l /share/initrd
umount -R $root
