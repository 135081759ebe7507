#!/bin/bash
# In a guest of the lab: installs dm-psa on the system of /dev/vdb1, and makes its initramfs. The packages are in
# /share/deb; the initramfs is put into /share. Called by host/boot-disk.
set -e
disk=/dev/vdb1 root=/mnt kernel=$(uname -r)
# The guests of the lab end without a shutdown.
tune2fs -l $disk | grep -q has_journal || tune2fs -j $disk >/dev/null
mount $disk $root
cp /share/deb/*.deb $root/tmp/
for each in proc sys dev; do mount --rbind /$each $root/$each; done
mount -t tmpfs run $root/run

# Only what this guest boots from; the modules of all drivers would take minutes to pack.
cat >$root/etc/initramfs-tools/conf.d/lab <<C
MODULES=list
COMPRESS=gzip
COMPRESSLEVEL=1
C
printf '%s\n' virtio_pci virtio_scsi sd_mod ext4 >$root/etc/initramfs-tools/modules
# multipath-tools is only a peer to be measured. Its place is taken.
rm -f $root/etc/udev/rules.d/*.rules
chroot $root sh -c "dpkg --unpack /tmp/dm-psa_*.deb /tmp/dm-psa-boot_*.deb"
chroot $root dpkg --configure dm-psa dm-psa-boot
chroot $root systemctl enable dm-psa.service
chroot $root update-initramfs -c -k "$kernel"

uuid=$(blkid -s UUID -o value $disk)
cat >$root/etc/fstab <<F
UUID=$uuid / ext4 rw 0 0
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
