"""The 51 demands of the draft group standard T/ISC «端侧大模型更新与运维技术规范», in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.conformance.row import Text

REQUIREMENTS: Final[Mapping[str, Text]] = {
    # -- 5 update ---------------------------------------------------------------------------------------------------
    "5.1-a": Text("更新不损坏终端的系统和数据", "An update never damages the device's system or data"),
    "5.1-b": Text("更新后与硬件、系统、其他应用兼容", "The update runs with hardware, OS and other applications"),
    "5.1-c": Text("触发前告知更新内容，由用户决定", "The user is told first, and decides"),
    "5.1-d": Text("紧急更新也须确认，禁止静默更新", "Urgent ones ask too; nothing updates silently"),
    "5.2.1-a": Text("增量包不超过全量包的 30%", "Incremental package at most 30 % of the full one"),
    "5.2.1-b": Text("断点续传，不重复下载", "What was fetched is not fetched again"),
    "5.2.1-c": Text("自动校验完整性，失败则回滚", "Integrity is verified; failure goes back"),
    "5.2.2-a": Text("全量包加密，传输使用安全协议", "Full packages are encrypted, transport is secure"),
    "5.2.2-b": Text("完整性和可用性检测通过后方可使用", "In use only after integrity and usability tests"),
    "5.2.3-a": Text("差分包低冗余、高适配", "Differential packages: low redundancy"),
    "5.2.3-b": Text("版本溯源，可回滚至任意基线", "Provenance, and return to any baseline"),
    "5.3-a": Text("检测更新并提示用户", "Updates are detected and told"),
    "5.3-b": Text("用户确认后下载并校验", "Download and check after the user's answer"),
    "5.3-c": Text("部署过程展示进度", "Deployment shows progress"),
    "5.3-d": Text("自动进行功能和性能测试", "Functional and performance tests run by themselves"),
    "5.3-e": Text("失败自动回滚并告知原因和办法", "Failure goes back and is explained"),
    # -- 6 versions -------------------------------------------------------------------------------------------------
    "6.1-a": Text("主.次.修订，均为正整数", "major.minor.patch, each positive"),
    "6.1-b": Text("版本级别与变更相符", "The step fits the change"),
    "6.1-c": Text("版本与内容一一对应", "One version, one content"),
    "6.2-a": Text("全生命周期可追溯", "Traceable over the whole life"),
    "6.2-b": Text("归档至停止服务后两年", "Archived until two years after end of service"),
    "6.3-a": Text("异常、申请、性能不足触发回滚", "Rollback on faults, on request, on poor performance"),
    "6.3-b": Text("回滚在 5 分钟内完成", "Rollback within 5 minutes"),
    "6.3-c": Text("回滚恢复状态，不丢用户数据", "Rollback restores state, loses no user data"),
    "6.4-a": Text("高版本保留低版本核心接口", "Higher versions keep core interfaces"),
    "6.4-b": Text("版本的目录和运行资源独立", "Versions have their own directories and resources"),
    # -- 7 life cycle -----------------------------------------------------------------------------------------------
    "7.1.1-a": Text("部署前检测算力、存储、内存", "Compute, storage, memory checked before"),
    "7.1.1-b": Text("系统版本匹配，否则提示", "OS version fits, or the user is told"),
    "7.1.2-a": Text("轻量化部署", "Lightweight deployment"),
    "7.1.2-b": Text("传输与存储加密，解压加载防篡改", "Encrypted in transit and storage, tamper-checked"),
    "7.1.2-c": Text("部署报告", "Deployment report"),
    "7.2-a": Text("升级前备份版本和用户数据", "Version and user data backed up"),
    "7.2-b": Text("升级后清理临时文件", "Temporary files cleaned up"),
    "7.3.1": Text("卸载：提示备份，用户确认", "Uninstall: backup reminder, user confirms"),
    "7.3.2": Text("核心文件全部删除并告知结果", "All core files go, the result is told"),
    "7.4.1": Text("清理残留，不误删", "Residue is cleaned, nothing else"),
    "7.4.2-a": Text("清除率不低于 99%", "At least 99 % removed"),
    "7.4.2-b": Text("清理不影响使用，3 分钟内", "Undisturbing, within 3 minutes"),
    # -- 8 monitoring -----------------------------------------------------------------------------------------------
    "8.1.1-a": Text("算力占用监控", "Compute monitored"),
    "8.1.1-b": Text("内存占用监控", "Memory monitored"),
    "8.1.1-c": Text("存储占用监控", "Storage monitored"),
    "8.1.1-d": Text("电量消耗监控", "Power monitored"),
    "8.1.2-a": Text("每分钟至少采样一次", "Sampled at least once a minute"),
    "8.1.2-b": Text("超阈值立即预警并优化", "Warned and optimised above thresholds"),
    "8.2.1": Text("错误分四级", "Errors in four classes"),
    "8.2.2-a": Text("上报前展示内容，由用户选择", "Reports are shown before the user chooses"),
    "8.2.2-b": Text("上报信息脱敏", "Reports are de-identified"),
    "8.2.3-a": Text("致命 24 小时、严重 48 小时", "Fatal 24 h, serious 48 h"),
    "8.2.3-b": Text("闭环处理记录", "Closed record of handling"),
    "8.3-a": Text("本地优先，可选云备份", "Local first, cloud by choice"),
    "8.3-b": Text("用户可查看、导出、删除", "View, export, delete at any time"),
}
