"""What the demo says between the commands, in both languages."""

from __future__ import annotations

LANGUAGES = {"en": "en", "zh": "zh-CN"}

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "opening": (
            "Acme makes a small model called Assistant. This is how it reaches a device, is updated, and how a bad\n"
            "release fails. Everything below is real: two processes stay in the background (a web server with the\n"
            "repository, the agent of a device), the others are the commands that you see, with what they print."
        ),
        "publisher": "At Acme: keys, an empty repository, and the first release",
        "publisher-says": (
            "The repository is plain files. Releases are signed; what devices download is sealed for their class.\n"
            "A real publisher leaves out --dev, and keeps the keys encrypted."
        ),
        "device": "On the device: set up once, then ask what there is",
        "device-says": (
            "The enrolment file tells the device whom it trusts. Nothing is installed without its owner's answer to\n"
            "exactly this offer; the offer number stands for every word of it."
        ),
        "install": "The owner accepts the offer",
        "ask": "The model answers",
        "wrong": "That is wrong: an inch has 2.54 centimetres. Acme learns about it and trains 1.1.2.",
        "fix": "Acme publishes the correction; the device finds it",
        "accept": "The owner accepts; the new version has to pass its self-tests before it is used",
        "ask-again": "The same question again",
        "meanwhile": "Meanwhile the model was asked {count} questions, one after the other, and answered all of them.",
        "right": "Corrected.",
        "bad": "Then a bad day at Acme: 1.1.3 was trained badly, and nobody asked it anything",
        "bad-says": (
            "It is a proper release in every other respect: signed, sealed, and every digest is right. An audit of\n"
            "the repository finds nothing to complain about."
        ),
        "bad-accept": "The device is offered 1.1.3 like any release, and its owner accepts",
        "bad-end": (
            "Every byte arrived as it was signed, and the model is useless. Its self-test says so on the device,\n"
            "before it answered anybody. Version 1.1.2 is in use as before, and the owner need do nothing."
        ),
        "no-offer": "It is not offered again:",
        "back": "The owner may go back, too: by hand, and at once",
        "back-says": "The version before is still on the device. That needs no repository: the web server stops first.",
        "back-took": "That took {seconds:.1f} seconds, the start of the engine included.",
        "old-mistake": "The old version is back, with its old mistake:",
        "record": "What the device has, and what it did",
        "conformance": "What the standard asks for, measured on this machine",
        "again": "The machine was too busy to measure reliably. That never fails a release; it is measured again.",
        "checked": "[checked: {fact}]",
        "in-use": "{version} is in use",
        "stays": "{version} stays in use; the error is {code}",
        "closing": (
            "The end, after {seconds:.0f} seconds. What is left of it can be looked at, for example with\n"
            "MODELOTA_ROOT={root} modelota device status"
        ),
        "stopped": "The story stopped:",
        "interrupted": "Stopped.",
    },
    "zh-CN": {
        "opening": (
            "Acme 公司有一个小模型，叫“小助手”。下面演示它怎样到达设备、怎样更新，又怎样避开一个坏版本。\n"
            "以下一切都是真的：后台只有两个进程（提供仓库的网页服务器、设备上的代理），其余就是您看到的命令和它们的输出。"
        ),
        "publisher": "在 Acme：生成密钥，建立空仓库，发布第一个版本",
        "publisher-says": (
            "仓库就是普通文件。版本有签名；设备下载的内容按设备类别加密。\n真正的发布者不用 --dev，密钥会加密保存。"
        ),
        "device": "在设备上：设置一次，然后看看有什么",
        "device-says": (
            "注册文件告诉设备应当信任谁。不经机主对这一份更新告知的答复，什么也不会安装；\n告知编号代表其中的每一个字。"
        ),
        "install": "机主接受",
        "ask": "模型作答",
        "wrong": "这是错的：1英寸等于2.54厘米。Acme 得知后训练了 1.1.2。",
        "fix": "Acme 发布修正版本，设备发现了它",
        "accept": "机主接受；新版本先通过自检，才会投入使用",
        "ask-again": "再问一次同样的问题",
        "meanwhile": "在此期间，模型接连被问了 {count} 次，每次都作了答。",
        "right": "改正了。",
        "bad": "Acme 也有倒霉的一天：1.1.3 训练坏了，却没有人问过它一句话",
        "bad-says": "除此之外，它是一个完全合格的版本：有签名，已加密，每个摘要都正确。检查仓库，挑不出任何毛病。",
        "bad-accept": "设备像对待其他版本一样提供 1.1.3，机主接受了",
        "bad-end": (
            "每个字节都与签名时一致，模型却毫无用处。设备上的自检发现了这一点，那时它还没有回答过任何人。\n"
            "1.1.2 照常使用，机主什么也不用做。"
        ),
        "no-offer": "它不会再次被提供：",
        "back": "机主也可以自己手动回退，立即生效",
        "back-says": "上一版本仍在设备上，不需要仓库，所以先停掉网页服务器。",
        "back-took": "用时 {seconds:.1f} 秒，包括启动引擎。",
        "old-mistake": "旧版本回来了，旧错误也回来了：",
        "record": "设备上有什么，做过什么",
        "conformance": "标准的要求，在本机上逐项测量",
        "again": "机器太忙，测量不可靠。这绝不算版本失败，只是再测一次。",
        "checked": "［已核对：{fact}］",
        "in-use": "正在使用 {version}",
        "stays": "仍在使用 {version}，错误代码是 {code}",
        "closing": (
            "完。共 {seconds:.0f} 秒。留下的一切都可以查看，例如：\nMODELOTA_ROOT={root} modelota device status"
        ),
        "stopped": "演示中断：",
        "interrupted": "已停止。",
    },
}
